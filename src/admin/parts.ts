/**
 * What the commands ask of a running node: narrow interfaces of plain data, so that a command never sees
 * a socket, a trie or a member table, and a test can stand in for the broker. src/broker.ts builds
 * the real ones. A method that cannot do what was asked rejects (or throws) with a `Refusal`.
 */

import type { Clock } from "../lib/clock.js";
import type { ClientListing, SessionListing, SubscriptionListing } from "../session/listings.js";
import type { Listing } from "./lists.js";

export type { ClientListing, SessionListing, SubscriptionListing };

/** The first items of a list that may be long, and how long it is. */
export interface Page<T> {
  readonly total: number;
  readonly items: readonly T[];
}

export type MemberState = "joining" | "up" | "suspect" | "down" | "left" | "removed";

export interface MemberStatus {
  readonly name: string;
  readonly state: MemberState;
  /** When it came into this state, ISO 8601. */
  readonly since: string;
  readonly incarnation: number;
  readonly connections: number;
  readonly sessions: number;
  readonly routes: number;
  /** Of a member that is down, with the shared store: how far this node is with adopting its sessions. */
  readonly adoption?: AdoptionState;
}

/** `waiting`: it may not be adopted yet, as its lease has not lapsed or lives again. */
export type AdoptionState = "waiting" | "under_way" | "done";

export interface ClusterStatus {
  readonly node: string;
  readonly version: string;
  /** Names of the members that are reached, this node included. */
  readonly running: readonly string[];
  /** Names of the members that are not. */
  readonly stopped: readonly string[];
  /** True when members that did not leave cannot be reached. */
  readonly partitioned: boolean;
  /** What is wrong with this node, in sentences; left out when it is well. */
  readonly alarms?: readonly string[];
  readonly members: readonly MemberStatus[];
}

export interface NodeAddress {
  readonly name: string;
  readonly host: string;
  readonly port: number;
}

export interface ClusterControl {
  readonly name: string;
  /** Joins the cluster that `node` belongs to. `member`: the member that let us in. */
  join(node: string, options: { readonly discard: boolean }): Promise<{ readonly member: string }>;
  leave(): Promise<void>;
  /** Makes all members forget `node`, which may be dead, and refuse it from now on. */
  remove(node: string): Promise<void>;
  status(): ClusterStatus;
  /** The nodes that answer on the link ports of `host` (default: this node's host). */
  names(host?: string): Promise<readonly NodeAddress[]>;
}

/** What would be merged, left behind or destroyed: the questions before a command name it. */
export interface Holdings {
  /** Persistent sessions, messages queued for them and retained messages in this node. */
  local(): { readonly sessions: number; readonly queued: number; readonly retained: number };
  /** Messages in all nodes that are reached that wait for `node`, and how many members could not be asked. */
  waitingFor(node: string): Promise<{ readonly messages: number; readonly silent: number }>;
}

/** Somebody who is subscribed. */
export interface SubscriberInfo {
  readonly clientId: string;
  readonly user: string;
  /** Where its session is. */
  readonly node: string;
  /** Its filters that match, or `$share/name/filter` of its group; the first ten. */
  readonly filters: readonly string[];
  /** The highest that was granted. */
  readonly qos: number;
  readonly connected: boolean;
}

export interface PresencePage extends Page<SubscriberInfo> {
  /** Members that could not be asked. */
  readonly silent: readonly string[];
}

export interface PresenceControl {
  /** From the client id behind `after` on, in their order. @throws Refusal when `filter` cannot be one */
  subscribers(filter: string, limit: number, after: string | undefined): Promise<PresencePage>;
}

/** What waits in this node for another one. */
export interface OutboxInfo {
  readonly node: string;
  readonly state: MemberState;
  readonly messages: number;
  readonly bytes: number;
  /** Since when the oldest waits, ISO 8601; null: nothing does. */
  readonly oldest: string | null;
  /** They are being sent; else they wait until it is back. */
  readonly drains: boolean;
  /** Another data directory runs under its name: it has lost what it had, and is not let in. */
  readonly lostData: boolean;
}

export interface WaitingInfo {
  /** Its number in the stream: incarnation and counter. */
  readonly number: string;
  readonly topic: string;
  readonly qos: number;
  readonly bytes: number;
  /** Client id; empty: the node itself. */
  readonly publisher: string;
  /** ISO 8601; null: not known. */
  readonly since: string | null;
  /** Share groups that it is for. */
  readonly groups: readonly string[];
}

/** The outboxes of this node. All of them throw a Refusal when `node` is no other member. */
export interface OutboxControl {
  list(): readonly OutboxInfo[];
  /** From the one behind number `after` on. */
  show(node: string, limit: number, after: string | undefined): Page<WaitingInfo>;
  /** Gives up what waits for a node that is down. @throws Refusal when it is not */
  discard(node: string): number;
  /** Gives it to the matching sessions of node `to`, which may be this one. @throws Refusal when that cannot be */
  redirect(node: string, to: string): Promise<number>;
}

/** The connections at this node. */
export interface ClientControl {
  list(): Listing<ClientListing>;
  show(clientId: string): ClientListing | undefined;
  /** Closes the client's connection (v5: DISCONNECT 0x98). False: not connected here. */
  kick(clientId: string): boolean;
}

/** The sessions that live in this node. */
export interface SessionControl {
  list(): Listing<SessionListing>;
  show(clientId: string): SessionListing | undefined;
  /**
   * Ends the session, here or where a client that is connected here has it, and closes its connection. False: there is none,
   * or its node could not be asked.
   */
  delete(clientId: string): Promise<boolean>;
  /**
   * Moves a session whose client is away to another node, while messages come. Resolves with how many went with it.
   * @throws Refusal when it stays here
   */
  move(clientId: string, node: string): Promise<number>;
}

/** How far it has come that sessions and clients are taken away from this node. */
export interface DrainStatus {
  readonly kind: "none" | "drain" | "rebalance" | "leave";
  readonly state: "idle" | "running" | "done" | "stopped";
  readonly moved: number;
  readonly closed: number;
  readonly failed: number;
  readonly lastRefusal: string;
  /** Sessions that outlive their connections, and clients, that are still here. */
  readonly sessions: number;
  readonly clients: number;
}

export interface BalancePlan {
  readonly nodes: readonly { readonly name: string; readonly sessions: number }[];
  /** How many sessions this node would give away. */
  readonly gives: number;
}

/** Each of these throws a `Refusal` when it cannot be. */
export interface DrainControl {
  start(): DrainStatus;
  undo(): DrainStatus;
  status(): DrainStatus;
  plan(): BalancePlan;
  balance(): DrainStatus;
  stopBalance(): DrainStatus;
}

export interface SubscriptionControl {
  /** Of one client, or of all sessions in this node. */
  list(clientId: string | undefined): Listing<SubscriptionListing>;
}

export interface RouteInfo {
  readonly filter: string;
  readonly node: string;
  /** Highest QoS among the subscribers. */
  readonly qos: number;
  /** At least one persistent session is behind it. */
  readonly durable: boolean;
  /** Of a share group: its members there. */
  readonly members?: GroupMembers;
}

/** Members of a share group at one node: connected ones, and others with a queue. */
export interface GroupMembers {
  readonly online: number;
  readonly waiting: number;
}

export interface RouteCheck {
  readonly peer: string;
  /** Whether our copy of the peer's rows equals the peer's own. */
  readonly equal: boolean;
  readonly rows: number;
}

export interface RouteControl {
  /** Rows of all nodes; `filter`: only those for exactly this filter. */
  list(filter: string | undefined): Listing<RouteInfo>;
  /** Compares digests with every peer that is up. */
  verify(): Promise<readonly RouteCheck[]>;
}

export interface Explanation {
  readonly topic: string;
  /** Sessions in this node that would get it. */
  readonly local: readonly {
    readonly clientId: string;
    readonly filters: readonly string[];
    readonly qos: number;
    readonly connected: boolean;
  }[];
  /** How many clients here are not named and not asked about: there are too many. Left out when all are. */
  readonly unnamed?: number;
  /** Nodes that would get one copy. */
  readonly peers: readonly {
    readonly node: string;
    readonly state: MemberState;
    readonly filters: readonly string[];
    readonly qos: number;
    readonly durable: boolean;
  }[];
  /** Share groups of which one member would get it. */
  readonly groups: readonly {
    /** `$share/name/filter`. */
    readonly filter: string;
    readonly local: readonly {
      readonly clientId: string;
      readonly qos: number;
      readonly connected: boolean;
    }[];
    readonly peers: readonly {
      readonly node: string;
      readonly state: MemberState;
      readonly members: GroupMembers;
      readonly qos: number;
      readonly durable: boolean;
    }[];
  }[];
  /** Sessions in this node that subscribed and may not get it. */
  readonly denied: readonly {
    readonly clientId: string;
    /** Which rule of access denies it. */
    readonly because: string;
  }[];
  /** For the client that was asked about: whether it gets it, and a sentence that says why or why not. */
  readonly client?: {
    readonly clientId: string;
    readonly delivered: boolean;
    readonly because: string;
  };
}

/** Runs the real matcher without sending anything. */
export interface Explainer {
  /** @throws Refusal when `topic` is no valid topic name */
  explain(topic: string, clientId: string | undefined): Explanation;
}

export interface RetainedInfo {
  readonly topic: string;
  readonly qos: number;
  readonly bytes: number;
  /** When it was published, ISO 8601. */
  readonly publishedAt: string;
}

export interface RetainedControl {
  /** Those whose topics match `filter`. @throws Refusal when it is no valid filter */
  list(filter: string): Listing<RetainedInfo>;
  get(topic: string): (RetainedInfo & { readonly payload: Uint8Array }) | undefined;
  /** Deletes it on all nodes. False: there is none on this topic. */
  delete(topic: string): Promise<boolean>;
}

export interface PublishRequest {
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
}

export interface Publisher {
  /** Resolves when it is accepted everywhere. `matched`: sessions here and peers that got it. */
  publish(request: PublishRequest): Promise<{ readonly matched: number }>;
}

export interface UserInfo {
  readonly name: string;
  /** Work of its SCRAM verifier; 0: there is none until the first right password. */
  readonly iterations: number;
  /** How its password is checked. */
  readonly hash: string;
}

/** The users file of this node. */
export interface UserControl {
  /** By name. */
  list(): readonly UserInfo[];
  /** @throws Refusal when the user exists, or name or password cannot be */
  add(name: string, password: string): Promise<void>;
  /** @throws Refusal when there is no such user, or the password cannot be */
  setPassword(name: string, password: string): Promise<void>;
  /** @throws Refusal when there is no such user */
  delete(name: string): Promise<void>;
  /**
   * Adds the users of a file of mosquitto_passwd; those that exist stay as they are.
   * @throws Refusal when `text` is no such file
   */
  importMosquitto(text: string): Promise<{ readonly imported: number; readonly existing: number }>;
}

export interface AclRequest {
  /** Undefined: none in particular. */
  readonly clientId: string | undefined;
  /** Undefined: that of the client's session here, else anonymous. */
  readonly user: string | undefined;
  readonly action: "publish" | "subscribe";
  readonly topic: string;
}

/** The access rules of this node. */
export interface AclControl {
  /** Reads the ACL file again. @throws Refusal when there is none or it is not usable: nothing changes */
  reload(): Promise<{ readonly rules: number }>;
  /** @throws Refusal when the topic cannot be */
  check(request: AclRequest): { readonly allowed: boolean; readonly because: string };
}

export interface ListenerInfo {
  /** Of a listener for clients: its section of the settings, or its own in `listeners.more`. */
  readonly name: string;
  readonly kind: "mqtt" | "mqtts" | "ws" | "wss" | "unix" | "link" | "http";
  /** Of a Unix socket: its path, and port 0. */
  readonly address: string;
  readonly port: number;
  /** Connections open now. */
  readonly connections: number;
}

/** What reading the certificates of one listener again came to. */
export interface ReloadInfo {
  readonly name: string;
  /** Null: they are in use. Otherwise what is wrong; the old ones stay. */
  readonly problem: string | null;
}

export interface LogControl {
  level(): string;
  setLevel(level: string): void;
}

/** What a node says about itself once it has started. */
export interface StartReport {
  readonly name: string;
  readonly listeners: readonly {
    readonly kind: string;
    readonly address: string;
    readonly port: number;
  }[];
  readonly linkPort: number;
  /** Members that it is connected to, itself included. */
  readonly members: readonly string[];
}

/** Where and how much this node has stored. */
export interface StoreStats {
  readonly kind: string;
  /** Null: it takes everything. Otherwise why it does not, and since when. */
  readonly alarm: string | null;
  /** Counters and gauges by name. */
  readonly counters: Readonly<Record<string, number>>;
}

export interface StoreControl {
  /** @throws Refusal when nothing is stored (`store.kind: memory`), like all of these */
  stats(): StoreStats;
  /** Reads all records and their checksums. `damaged`: where wrong ones are, the first hundred. */
  verify(): Promise<{
    readonly partitions: number;
    readonly records: number;
    readonly bytes: number;
    readonly wrong: number;
    readonly damaged: readonly { readonly partition: string; readonly key: string }[];
  }>;
  /** Gives freed space back to the disk; the node runs on. Bytes of the file before and after. */
  compact(): Promise<{ readonly before: number; readonly after: number }>;
  /** Copies what a node needs to start from into `directory`, an absolute path that is missing or empty. */
  backup(
    directory: string,
  ): Promise<{ readonly records: number; readonly files: readonly string[] }>;
}

export type BanKind = "client" | "user" | "address";

export interface BanInfo {
  readonly kind: BanKind;
  /** A client id, a user, an address or a network. */
  readonly what: string;
  readonly reason: string;
  /** ISO 8601, as the next; null: it has no end. */
  readonly since: string;
  readonly ends: string | null;
}

/** Who is kept out of the whole cluster. */
export interface BanControl {
  /** Resolves when it is durable here. `durationMs` 0: for good. */
  add(kind: BanKind, what: string, durationMs: number, reason: string): Promise<BanInfo>;
  /** Resolves, when that is durable here, with the name under which it was banned. */
  delete(kind: BanKind, what: string): Promise<string>;
  list(): Listing<BanInfo>;
}

/** Everything that a command may use. */
export interface Parts {
  readonly clock: Clock;
  readonly cluster: ClusterControl;
  readonly holdings: Holdings;
  readonly clients: ClientControl;
  readonly sessions: SessionControl;
  readonly drain: DrainControl;
  readonly subscriptions: SubscriptionControl;
  readonly routes: RouteControl;
  readonly explainer: Explainer;
  readonly retained: RetainedControl;
  readonly publisher: Publisher;
  readonly outbox: OutboxControl;
  readonly presence: PresenceControl;
  readonly users: UserControl;
  readonly acl: AclControl;
  readonly bans: BanControl;
  readonly store: StoreControl;
  readonly log: LogControl;
  listeners(): readonly ListenerInfo[];
  /** Reads all certificates again. @throws Refusal when no listener has any */
  reloadCertificates(): readonly ReloadInfo[];
  /** Every counter and gauge of the node by name. */
  metrics(): Readonly<Record<string, number>>;
  report(): StartReport;
  /** Begins an orderly stop and returns at once. */
  stop(): void;
}
