/** An older session that is being handed over to a younger one of its client id: where that is, and how far it has come. */
import type { Remainder } from "./remainder.js";
import type { Cut } from "./wire.js";

/** What an older session leaves. */
export interface Legacy {
  /** The same for all that this session leaves: its epoch, or with messages that have no lasting numbers one of its own. */
  readonly id: number;
  /** Messages with higher numbers. */
  readonly after: number;
  readonly parts: readonly LegacyPart[];
}

export interface LegacyPart {
  /** The number of its last message; none: that of the last before it. */
  readonly upTo: number;
  readonly part: Buffer;
}

/** An older session on its way to the younger one. */
export interface Leaving {
  /** Of the older session: it is not the older one any more when its client was given it since. */
  readonly epoch: number;
  /** Of the younger one; where there are more, of the youngest. */
  youngerEpoch: number;
  /** Where the younger one is. */
  by: string;
  /** What stands for it with the router; null: itself. */
  remainder: Remainder | null;
  /** Where it ends, as far as that is known. */
  cuts: readonly Cut[];
  /** Resolves when it is handed over, or stays. */
  over: Promise<void>;
}
