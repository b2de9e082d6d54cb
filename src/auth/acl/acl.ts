/**
 * Who may publish and subscribe to what: the rules of the ACL file, and those that a client brings with its
 * proof of who it is. What is not usable never opens anything: a node does not start with a broken file,
 * and one that breaks later leaves the last good rules in force.
 */
import { isUtf8 } from "node:buffer";
import { readFile, stat } from "node:fs/promises";
import type { Config } from "../../config/schema.js";
import type { Log } from "../../lib/log.js";
import { Refusal } from "../../lib/refusal.js";
import { Access } from "./access.js";
import type { AclRules } from "./acl-rules.js";
import { AclTable, type FullSubject } from "./acl-table.js";
import { AclCounters } from "./counters.js";
import { parseMosquittoAcl } from "./mosquitto-format.js";
import type { AclAction, AclSubject } from "./rule.js";
import type { RuleSet } from "./rule-set.js";
import { parseTrellisAcl } from "./trellis-format.js";

const fileBytesMax = 16 * 1024 * 1024;
const rulesMax = 100_000;

/** What sessions and connections use of it. */
export interface Authorizer {
  readonly counters: AclCounters;
  /** What this client may do; null: everything, so nothing need be asked. */
  accessOf(subject: FullSubject): Access | null;
}

export type AclSettings = Pick<Config["auth"], "acl_file" | "acl_format" | "acl_default">;

export class Acl implements Authorizer {
  readonly counters = new AclCounters();
  /** Another one whenever the rules have changed. */
  generation = 1;
  private table: AclTable;
  /** Reads of the file, one after the other. */
  private working: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly settings: AclSettings,
    private readonly log: Log,
  ) {
    this.table = new AclTable({ rules: [], grantsFilters: false }, this.allowsRest);
  }

  /** There is a file of rules. Without one only clients with rules of their own are asked about. */
  get hasFile(): boolean {
    return this.settings.acl_file !== "";
  }

  /** Rules in force. */
  get size(): number {
    return this.table.size;
  }

  private get allowsRest(): boolean {
    return this.settings.acl_default === "allow";
  }

  accessOf(subject: FullSubject): Access | null {
    return this.hasFile || subject.rules !== null ? new Access(this, subject) : null;
  }

  setFor(subject: FullSubject): RuleSet {
    return this.table.setFor(subject);
  }

  /** For operators who look closely; the same thing again and again is told once. */
  tellDenied({ clientId, user }: AclSubject, action: AclAction, name: string): void {
    const { level } = this.log;
    if (level !== "debug" && level !== "trace") return;
    this.log.debug({ clientId, user, action, name }, "denied by the access rules");
  }

  /** Reads the file for the first time. @throws Refusal when it is not usable */
  async open(): Promise<void> {
    if (this.hasFile) await this.load();
  }

  /**
   * Reads the file again; its rules hold from then on, for clients that are connected too.
   * @throws Refusal when it is not usable (the rules stay as they were), or there is none
   */
  reload(): Promise<void> {
    if (!this.hasFile) {
      return Promise.reject(new Refusal("this node has no ACL file: set auth.acl_file"));
    }
    const done = this.working.then(() => this.load());
    this.working = done.catch(() => undefined);
    return done;
  }

  private async load(): Promise<void> {
    const { acl_file: path, acl_format: format } = this.settings;
    const { counters } = this;
    try {
      const lines = await readLines(path);
      const file = format === "mosquitto" ? parseMosquittoAcl(lines) : parseTrellisAcl(lines);
      this.take(file);
    } catch (error) {
      counters.loadFailures++;
      counters.failing = 1;
      const why = error instanceof Error ? error.message : String(error);
      this.log.error({ path, why }, "the ACL file is not taken; the rules stay as they were");
      throw new Refusal(`the ACL file ${path} cannot be used: ${why}`);
    }
    counters.loaded++;
    counters.failing = 0;
    this.log.info({ path, rules: this.size }, "ACL file read");
  }

  private take(file: AclRules): void {
    if (file.rules.length > rulesMax) throw new Error(`it has more than ${rulesMax} rules`);
    this.table = new AclTable(file, this.allowsRest);
    this.generation++;
  }
}

async function readLines(path: string): Promise<string[]> {
  const status = await stat(path);
  if (!status.isFile()) throw new Error("it is no file");
  if (status.size > fileBytesMax) throw new Error(`it is larger than ${fileBytesMax} bytes`);
  const bytes = await readFile(path);
  if (!isUtf8(bytes)) throw new Error("it is not UTF-8");
  return bytes.toString("utf8").split(/\r?\n/);
}
