/**
 * What this node knows as the home of client ids: where their connections and sessions are. It is the
 * one place that grants claims for them, one at a time, each with a higher epoch. Rebuilt from the
 * owners' announcements whenever the list of up members changes; until it has all of them for the
 * present list, it asks every member about an id before it grants.
 */
import type { DirectoryEntry } from "./directory-types.js";
import type { CallBody, ReplyBody } from "./wire/messages.js";

interface Place {
  readonly node: string;
  readonly epoch: number;
}

interface HomeEntry {
  user: string;
  /** Connections not yet confirmed closed. */
  connections: Place[];
  /** A session without a connection. */
  session: Place | null;
}

export type ClaimReply = ReplyBody<"claim">;

export interface HomeNetwork {
  readonly self: string;
  /** Every up member, this node included. */
  members(): readonly string[];
  /** Hash of that list. */
  list(): number;
  nextEpoch(): number;
  observeEpoch(epoch: number): void;
  /** What that member knows of its own of this client id; null when it holds nothing or is gone. */
  entryAt(node: string, clientId: string, done: (entry: DirectoryEntry | null) => void): void;
  /** Has the client id's connection at that member closed if its epoch is older. */
  displaceAt(node: string, clientId: string, epoch: number): void;
}

interface WaitingClaim {
  readonly claimant: string;
  readonly body: CallBody<"claim">;
  readonly reply: (answer: ClaimReply) => void;
}

interface Announcement {
  readonly list: number;
  readonly entries: readonly DirectoryEntry[];
}

export class Home {
  readonly counters = { grants: 0, refusedUser: 0, otherList: 0, askedAll: 0, conflicts: 0 };
  private entries = new Map<string, HomeEntry>();
  /** The last word of each member, kept because its list may be newer than ours for a moment. */
  private readonly announcements = new Map<string, Announcement>();
  private announced = new Set<string>();
  private readonly asking = new Map<string, WaitingClaim[]>();

  constructor(private readonly network: HomeNetwork) {}

  /** Client ids that this node answers for. */
  get size(): number {
    return this.entries.size;
  }

  /** The list of up members is another: everything known is void until it is announced again. */
  onListChanged(): void {
    this.entries = new Map();
    this.announced = new Set();
    for (const node of this.network.members()) {
      const last = this.announcements.get(node);
      if (last?.list === this.network.list()) this.apply(node, last);
    }
  }

  /** A member (or this node itself) says which of its client ids have their home here. */
  announce(node: string, announcement: Announcement): void {
    this.announcements.set(node, announcement);
    if (announcement.list === this.network.list()) this.apply(node, announcement);
  }

  /** A node that is no member any more says nothing. */
  forget(node: string): void {
    this.announcements.delete(node);
  }

  /** Answers a claim, at once unless all members must be asked first. */
  claim(claimant: string, body: CallBody<"claim">, reply: (answer: ClaimReply) => void): void {
    if (body.list !== this.network.list()) {
      this.counters.otherList++;
      reply({ refused: "other-list" });
      return;
    }
    const waiting = { claimant, body, reply };
    const queue = this.asking.get(body.clientId);
    if (queue !== undefined) queue.push(waiting);
    else if (this.isComplete()) this.grant(waiting);
    else this.askAll(waiting);
  }

  /** Every connection of the id up to that epoch at that node is closed. */
  released(node: string, { clientId, epoch, persistent }: CallBody<"released">): void {
    const entry = this.entries.get(clientId);
    if (entry === undefined) return;
    entry.connections = entry.connections.filter(
      (place) => place.node !== node || place.epoch > epoch,
    );
    if (persistent) {
      if (entry.session === null || entry.session.epoch <= epoch) entry.session = { node, epoch };
    } else if (entry.session?.node === node) entry.session = null;
    this.prune(clientId, entry);
  }

  /** The connection's session lives where the connection is: an older place of it is history. */
  attached(node: string, { clientId, epoch }: CallBody<"attached">): void {
    const entry = this.entries.get(clientId);
    if (entry?.session?.node === node && entry.session.epoch <= epoch) entry.session = null;
  }

  ended(node: string, { clientId }: CallBody<"ended">): void {
    const entry = this.entries.get(clientId);
    if (entry === undefined) return;
    if (entry.session?.node === node) entry.session = null;
    this.prune(clientId, entry);
  }

  private isComplete(): boolean {
    return this.announced.size >= this.network.members().length;
  }

  private grant({ claimant, body, reply }: WaitingClaim): void {
    const { clientId, user } = body;
    const entry = this.entries.get(clientId) ?? { user, connections: [], session: null };
    const members = this.network.members();
    // What a member that is down had of it is gone, or comes back with its announcement.
    entry.connections = entry.connections.filter((place) => members.includes(place.node));
    if (entry.user !== user && (entry.connections.length > 0 || entry.session !== null)) {
      this.counters.refusedUser++;
      reply({ refused: "other-user" });
      return;
    }
    entry.user = user;
    const epoch = this.network.nextEpoch();
    const connections = entry.connections;
    entry.connections = [...connections, { node: claimant, epoch }];
    this.entries.set(clientId, entry);
    this.counters.grants++;
    reply({ epoch, connections, session: entry.session?.node ?? null });
  }

  private askAll(first: WaitingClaim): void {
    const { clientId } = first.body;
    const queue = [first];
    this.asking.set(clientId, queue);
    this.counters.askedAll++;
    const list = this.network.list();
    const members = this.network.members();
    let open = members.length;
    for (const node of members) {
      this.network.entryAt(node, clientId, (entry) => {
        if (entry !== null && this.network.list() === list) this.merge(node, entry);
        if (--open > 0) return;
        this.asking.delete(clientId);
        for (const waiting of queue) this.claim(waiting.claimant, waiting.body, waiting.reply);
      });
    }
  }

  private apply(node: string, { entries }: Announcement): void {
    this.announced.add(node);
    for (const entry of entries) this.merge(node, entry);
  }

  private merge(node: string, theirs: DirectoryEntry): void {
    const { clientId, epoch } = theirs;
    this.network.observeEpoch(epoch);
    let entry = this.entries.get(clientId);
    if (entry === undefined) {
      entry = { user: theirs.user, connections: [], session: null };
      this.entries.set(clientId, entry);
    }
    if (theirs.connected) {
      if (entry.connections.some((place) => place.node === node && place.epoch === epoch)) return;
      entry.connections = [...entry.connections, { node, epoch }];
      this.settleConflict(clientId, entry);
    } else if (theirs.persistent && (entry.session === null || entry.session.epoch < epoch)) {
      entry.session = { node, epoch };
    }
  }

  /** Two halves of a cluster may have served one client id: the higher epoch wins. */
  private settleConflict(clientId: string, entry: HomeEntry): void {
    if (entry.connections.length < 2) return;
    this.counters.conflicts++;
    const winner = entry.connections.reduce((a, b) => (b.epoch > a.epoch ? b : a));
    for (const place of entry.connections) {
      if (place !== winner) this.network.displaceAt(place.node, clientId, winner.epoch);
    }
  }

  private prune(clientId: string, entry: HomeEntry): void {
    if (entry.connections.length === 0 && entry.session === null) this.entries.delete(clientId);
  }
}
