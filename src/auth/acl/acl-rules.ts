/** What every format of an ACL file comes to. */
import type { AclRule } from "./rule.js";

export interface AclRules {
  /** The first that fits decides. */
  readonly rules: readonly AclRule[];
  /** Every SUBSCRIBE is granted, and what may not be received is left out when it is delivered. */
  readonly grantsFilters: boolean;
}

/** A line that cannot be. */
export class AclFileError extends Error {
  constructor(line: number, sentence: string) {
    super(`line ${line}: ${sentence}`);
  }
}
