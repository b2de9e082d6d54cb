/**
 * Who is kept out: client ids, users, and addresses or networks, for a while or for good. Bans are entries of a table that
 * all nodes of the cluster hold alike; here they are laid out so that each CONNECT, and each accept, costs a look-up.
 * A ban whose time is over holds no more, wherever it still stands.
 */
import type { Clock } from "../../lib/clock.js";
import { stampMs } from "../../lib/hlc.js";
import { Refusal } from "../../lib/refusal.js";
import { type Network, networkOf, Networks } from "./networks.js";

export const banKinds = ["client", "user", "address"] as const;
export type BanKind = (typeof banKinds)[number];

export interface Ban {
  readonly kind: BanKind;
  /** A client id, a user, an address or a network as `10.0.0.0/8`. */
  readonly what: string;
  /** For the operator; the client does not see it. */
  readonly reason: string;
  /** Wall-clock milliseconds. */
  readonly sinceMs: number;
  /** The same; 0: it has no end. */
  readonly endsMs: number;
}

/** Somebody who is here, or wants in. */
export interface BanSubject {
  readonly clientId: string | undefined;
  readonly user: string | undefined;
  /** Without a port. */
  readonly host: string;
}

/** A record of the table; `value`: its reason, null: deleted. */
export interface BanRecord {
  readonly key: string;
  readonly value: string | null;
  readonly endsMs: number;
  readonly stamp: number;
}

/** What bans use of the table that all nodes share. */
export interface BanRecords {
  /** `onChanged` is called with what changes from now on. */
  watch(onChanged: (records: readonly BanRecord[]) => void): void;
  all(): readonly BanRecord[];
  /** False: there are too many. */
  set(key: string, value: string, endsMs: number): boolean;
  /** False: there is none. */
  delete(key: string): boolean;
}

const keyStart = "ban ";
/** Longest name and reason, in UTF-16 units; within what one entry of the table may have. */
const whatMax = 1024;
const reasonMax = 256;

export class Bans {
  readonly counters = {
    /** CONNECTs refused because of the client id, and because of the user. */
    refusedClients: 0,
    refusedUsers: 0,
    /** Connections closed when they were accepted. */
    refusedAddresses: 0,
    /** Connections that were open when their ban came. */
    closed: 0,
  };
  /** There are bans that were not there before: connections may have to be closed. Set by whoever has them. */
  onAdded: () => void = () => undefined;
  private readonly clients = new Map<string, number>();
  private readonly users = new Map<string, number>();
  private readonly networks = new Networks<number>();

  constructor(
    private readonly clock: Clock,
    private readonly records: BanRecords,
  ) {
    records.watch((changed) => this.onChanged(changed));
    this.onChanged(records.all());
  }

  /** How many hold now. */
  get size(): number {
    return this.list().length;
  }

  /**
   * Bans somebody in the whole cluster; a ban that there is gets the new end and reason. `durationMs` 0: for good.
   * @throws Refusal it is no such thing, or there are too many bans
   */
  add(kind: BanKind, what: string, durationMs: number, reason: string): Ban {
    const name = nameOf(kind, what);
    if (reason.length > reasonMax)
      throw new Refusal(`a reason has ${reasonMax} characters at most`);
    const now = Math.floor(this.clock.wallMs());
    const endsMs = durationMs === 0 ? 0 : now + durationMs;
    if (!this.records.set(keyOf(kind, name), reason, endsMs)) {
      throw new Refusal("there are too many bans: delete some, or ban networks");
    }
    return { kind, what: name, reason, sinceMs: now, endsMs };
  }

  /** @throws Refusal it is no such thing, or not banned */
  delete(kind: BanKind, what: string): string {
    const name = nameOf(kind, what);
    if (this.records.delete(keyOf(kind, name))) return name;
    throw new Refusal(`the ${kind} ${JSON.stringify(name)} is not banned`);
  }

  /** Bans that hold now, in order. */
  list(): Ban[] {
    const bans = this.records.all().flatMap((record) => banOf(record) ?? []);
    return bans.sort((a, b) => (keyOf(a.kind, a.what) < keyOf(b.kind, b.what) ? -1 : 1));
  }

  /** Is a CONNECT with this client id to be refused? Counts it. */
  refusesClient(clientId: string): boolean {
    if (!this.hasClient(clientId)) return false;
    this.counters.refusedClients++;
    return true;
  }

  /** The same of a user; empty: nobody in particular. */
  refusesUser(user: string): boolean {
    if (!this.hasUser(user)) return false;
    this.counters.refusedUsers++;
    return true;
  }

  /** Is any address banned? */
  get anyAddresses(): boolean {
    return this.networks.size > 0;
  }

  /** The same of a connection from this address; undefined: it is closed again, or has none. */
  refusesAddress(host: string | undefined): boolean {
    if (!this.hasAddress(host)) return false;
    this.counters.refusedAddresses++;
    return true;
  }

  hasClient(clientId: string): boolean {
    return this.holds(this.clients.get(clientId));
  }

  hasUser(user: string): boolean {
    return this.holds(this.users.get(user));
  }

  /** `host`: an IPv4 or IPv6 address; anything else, such as a path, is not banned. */
  hasAddress(host: string | undefined): boolean {
    if (host === undefined) return false;
    for (const endsMs of this.networks.find(host)) if (this.holds(endsMs)) return true;
    return false;
  }

  /** Is one of the three banned? */
  has({ clientId, user, host }: BanSubject): boolean {
    if (clientId !== undefined && this.hasClient(clientId)) return true;
    return (user !== undefined && this.hasUser(user)) || this.hasAddress(host);
  }

  private holds(endsMs: number | undefined): boolean {
    return endsMs !== undefined && (endsMs === 0 || endsMs > this.clock.wallMs());
  }

  private onChanged(records: readonly BanRecord[]): void {
    let isAdded = false;
    for (const record of records) {
      const { key, value, endsMs } = record;
      const ban = banOf({ ...record, value: value ?? "" });
      if (ban === null) continue;
      const holds = value !== null && this.holds(endsMs);
      if (holds) isAdded = true;
      this.note(ban, holds ? endsMs : null, key);
    }
    if (isAdded) this.onAdded();
  }

  private note({ kind, what }: Ban, endsMs: number | null, key: string): void {
    if (kind === "address") {
      const network = networkOf(what);
      // Only what a node of this version has written is one; another spelling of it is another entry.
      if (network === null || keyOf(kind, network.text) !== key) return;
      if (endsMs === null) this.networks.delete(network);
      else this.networks.set(network, endsMs);
      return;
    }
    const names = kind === "client" ? this.clients : this.users;
    if (endsMs === null) names.delete(what);
    else names.set(what, endsMs);
  }
}

/** The name under which it is kept. @throws Refusal */
function nameOf(kind: BanKind, what: string): string {
  if (what === "" || what.length > whatMax) {
    throw new Refusal(`what is banned has 1 to ${whatMax} characters`);
  }
  if (kind !== "address") return what;
  const network: Network | null = networkOf(what);
  if (network !== null) return network.text;
  throw new Refusal(`${JSON.stringify(what)} is neither an address nor a network as 10.0.0.0/8`);
}

const keyOf = (kind: BanKind, what: string): string => `${keyStart}${kind} ${what}`;

/** Null: it is not one of ours. */
function banOf({ key, value, endsMs, stamp }: BanRecord): Ban | null {
  if (value === null || !key.startsWith(keyStart)) return null;
  const kind = banKinds.find((one) => key.startsWith(keyOf(one, "")));
  if (kind === undefined) return null;
  const what = key.slice(keyOf(kind, "").length);
  return { kind, what, reason: value, sinceMs: stampMs(stamp), endsMs };
}
