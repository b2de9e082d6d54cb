/**
 * What this node knows as the home of client ids: where their connections and sessions are. It is the
 * one place that grants claims for them, each with a higher epoch. For every member it holds the last
 * announcement, what was reported and granted since, and nothing else: owners are the truth. Until all
 * members have announced for the present list, it asks each of them about an id before it grants.
 */
import type { DirectoryEntry, SessionPlace } from "./directory-types.js";
import type { CallBody, ReplyBody } from "./wire/messages.js";

/** A node that has something of a client id, and the epoch at which it was claimed there. */
export interface Place {
  readonly node: string;
  /** 0: a claim that no home has granted yet. */
  readonly epoch: number;
}

const nowhere: readonly Place[] = [];

class HomeEntry {
  /** Highest epoch seen; its user is the one that counts. */
  epoch = 0;
  /** Connections not yet confirmed closed: at most one place a node, that of its latest. */
  connections = nowhere;
  /** Sessions: at most one place a node. Those of a node that is down stay until it announces again. */
  sessions = nowhere;
  /** Of the latest claim, while its node has not said what came of it: there may be a session, too. 0: it has. */
  openEpoch = 0;

  constructor(public user: string) {}

  /** A node has told what it has of claims up to that epoch. */
  heard(epoch: number): void {
    if (epoch >= this.openEpoch) this.openEpoch = 0;
  }

  /** Is this connection all that there is, and known? */
  isOnly(node: string, { user, connection, session }: DirectoryEntry): boolean {
    const first = this.connections[0];
    if (first === undefined || session !== null || this.user !== user) return false;
    const isKnown = first.node === node && first.epoch === connection && this.epoch === connection;
    return isKnown && this.connections.length === 1 && this.sessions.length === 0;
  }
}

export type ClaimReply = ReplyBody<"claim">;

export interface HomeNetwork {
  /** Every up member, this node included. */
  members(): readonly string[];
  /** Hash of that list. */
  list(): number;
  /** Is this node the home of that client id, by the present list? */
  isHome(clientId: string): boolean;
  nextEpoch(): number;
  observeEpoch(epoch: number): void;
  /** What that member knows of its own of this client id: null when it holds nothing, `undefined` when it could not be asked. */
  entryAt(
    node: string,
    clientId: string,
    done: (entry: DirectoryEntry | null | undefined) => void,
  ): void;
  /** Has the client id's connection at that member closed if its epoch is older. */
  displaceAt(node: string, clientId: string, epoch: number): void;
  /** Tells that member that its session of the client id is superseded by a younger one. */
  supersedeAt(node: string, clientId: string, winner: Place): void;
  /** `done` when what connections at nodes that are down have left behind is settled; with false when nobody can tell. */
  beforeGrant(clientId: string, done: (isKnown: boolean) => void): void;
}

interface WaitingClaim {
  readonly claimant: string;
  readonly body: CallBody<"claim">;
  readonly reply: (answer: ClaimReply) => void;
}

export class Home {
  readonly counters = { grants: 0, refusedUser: 0, otherList: 0, askedAll: 0, conflicts: 0 };
  private readonly entries = new Map<string, HomeEntry>();
  /** For which list of members each node has announced last. */
  private readonly announced = new Map<string, number>();
  private readonly asking = new Map<string, WaitingClaim[]>();
  /** How often the list of members has changed: it may be what it was before, and a member has died in between. */
  private lists = 0;

  constructor(private readonly network: HomeNetwork) {}

  /** Client ids that this node answers for. */
  get size(): number {
    return this.entries.size;
  }

  /** Where this node, as home, believes a client id to be. */
  lookup(clientId: string): Readonly<HomeEntry> | undefined {
    return this.entries.get(clientId);
  }

  /** The list of up members is another: client ids may have come here that two members serve. */
  onListChanged(): void {
    this.lists++;
    for (const [clientId, entry] of this.entries) {
      this.settleConflict(clientId, entry);
      this.settleSessions(clientId, entry);
    }
  }

  /** A member (or this node itself) says which of its client ids have their home here: these alone. */
  announce(node: string, { list, entries }: CallBody<"announce">): void {
    this.forget(node);
    this.announced.set(node, list);
    for (const entry of entries) this.merge(node, entry);
  }

  /** A node is down: its connections are no more, its sessions wait with it. */
  onDown(node: string): void {
    this.announced.delete(node);
    for (const [clientId, entry] of this.entries) {
      entry.connections = without(entry.connections, node);
      this.prune(clientId, entry);
      this.settleConflict(clientId, entry);
    }
  }

  /** A node is no member any more: what it had is gone. */
  forget(node: string): void {
    this.onDown(node);
    for (const [clientId, entry] of this.entries) {
      entry.sessions = without(entry.sessions, node);
      this.prune(clientId, entry);
    }
  }

  /**
   * Grants a claim of a client id of which nothing is known. Returns its epoch; 0: something is, or may be, and `claim`
   * has to answer.
   */
  grantNew(claimant: string, clientId: string, user: string): number {
    if (this.asking.has(clientId) || this.entries.has(clientId) || !this.isComplete()) return 0;
    const epoch = this.network.nextEpoch();
    const entry = new HomeEntry(user);
    entry.epoch = epoch;
    entry.openEpoch = epoch;
    entry.connections = [{ node: claimant, epoch }];
    this.entries.set(clientId, entry);
    this.counters.grants++;
    return epoch;
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
    else if (this.isComplete()) this.settle(waiting, this.lists);
    else this.askAll(waiting);
  }

  /** Up to that epoch the node has this of the client id, or nothing. */
  holds(node: string, { clientId, epoch, entry: held }: CallBody<"holds">): void {
    const entry = this.entries.get(clientId);
    if (entry !== undefined) {
      // What most claims come to: it was granted here, and is attached.
      entry.heard(epoch);
      if (held?.clientId === clientId && entry.isOnly(node, held)) return;
      entry.connections = without(entry.connections, node, epoch);
      entry.sessions = without(entry.sessions, node, epoch);
      this.prune(clientId, entry);
      // What has come to nothing may have been newer than what is left.
      this.settleConflict(clientId, entry);
    }
    if (held !== null && held.clientId === clientId) this.merge(node, held);
  }

  private isComplete(): boolean {
    const { announced, network } = this;
    const list = network.list();
    for (const node of network.members()) if (announced.get(node) !== list) return false;
    return true;
  }

  /**
   * Whoever is granted the claim publishes after the will of a connection that died with its node. `lists`: for which
   * list of members it is known where everything is.
   */
  private settle(waiting: WaitingClaim, lists: number): void {
    this.network.beforeGrant(waiting.body.clientId, (isKnown) => {
      const isSame = this.lists === lists && this.network.list() === waiting.body.list;
      if (isKnown && isSame) this.grant(waiting);
      else waiting.reply({ refused: "other-list" });
    });
  }

  private grant({ claimant, body, reply }: WaitingClaim): void {
    const { clientId, user } = body;
    const entry = this.entries.get(clientId) ?? new HomeEntry(user);
    const held = entry.sessions.length > 0 || entry.connections.some(isGranted);
    if (entry.user !== user && held) {
      this.counters.refusedUser++;
      reply({ refused: "other-user" });
      return;
    }
    const { sessions } = entry;
    // The claim itself may have been announced already.
    const others = entry.connections.filter((place) => isGranted(place) || place.node !== claimant);
    const open = others.filter((place) => place.epoch === entry.openEpoch);
    const epoch = this.network.nextEpoch();
    entry.user = user;
    entry.epoch = epoch;
    entry.openEpoch = epoch;
    entry.connections = withPlace(entry.connections, { node: claimant, epoch });
    this.entries.set(clientId, entry);
    this.counters.grants++;
    // Whoever confirms that its connection is closed knows better, unless its node is out of reach.
    const session = this.placeOf(sessions) ?? this.placeOf(open);
    // Not in every answer: hardly any client id has two.
    if (sessions.length > 1) reply({ epoch, connections: others, session, older: true });
    else reply({ epoch, connections: others, session });
  }

  private placeOf(sessions: readonly Place[]): SessionPlace | null {
    const place = latest(sessions);
    if (place === undefined) return null;
    return { node: place.node, isUp: this.network.members().includes(place.node) };
  }

  private askAll(first: WaitingClaim): void {
    const { clientId } = first.body;
    const queue = [first];
    this.asking.set(clientId, queue);
    this.counters.askedAll++;
    const members = this.network.members();
    const { lists } = this;
    let open = members.length;
    let isHeard = true;
    for (const node of members) {
      this.network.entryAt(node, clientId, (entry) => {
        if (entry === undefined) isHeard = false;
        else if (entry !== null) this.merge(node, entry);
        if (--open > 0) return;
        this.asking.delete(clientId);
        for (const waiting of queue) {
          if (isHeard) this.settle(waiting, lists);
          else waiting.reply({ refused: "other-list" });
        }
      });
    }
  }

  private merge(node: string, theirs: DirectoryEntry): void {
    const { clientId, user, connection, session } = theirs;
    if (connection === null && session === null) return;
    const epoch = Math.max(connection ?? 0, session ?? 0);
    this.network.observeEpoch(epoch);
    const entry = this.entries.get(clientId) ?? new HomeEntry(user);
    this.entries.set(clientId, entry);
    if (epoch >= entry.epoch) {
      entry.user = user;
      entry.epoch = epoch;
    }
    if (session !== null) {
      entry.sessions = withPlace(entry.sessions, { node, epoch: session });
      this.settleSessions(clientId, entry);
    }
    if (connection === null) return;
    entry.heard(connection);
    entry.connections = withPlace(entry.connections, { node, epoch: connection });
    this.settleConflict(clientId, entry);
  }

  /** Two halves of a cluster may have served one client id: the higher epoch wins. */
  private settleConflict(clientId: string, entry: HomeEntry): void {
    if (entry.connections.length < 2) return;
    const granted = entry.connections.filter(isGranted);
    const winner = latest(granted);
    if (winner === undefined || granted.length < 2 || !this.network.isHome(clientId)) return;
    // It may come to nothing. If not, its node has the others closed, and tells of it.
    if (winner.epoch === entry.openEpoch) return;
    this.counters.conflicts++;
    for (const place of granted) {
      if (place === winner) continue;
      // Two homes may have given the same epoch.
      const epoch = Math.max(winner.epoch, place.epoch + 1);
      this.network.displaceAt(place.node, clientId, epoch);
    }
  }

  /** A client id may have two sessions after one node was away, or two clusters were joined: the younger one wins. */
  private settleSessions(clientId: string, entry: HomeEntry): void {
    if (entry.sessions.length < 2 || !this.network.isHome(clientId)) return;
    const winner = latest(entry.sessions);
    if (winner === undefined) return;
    for (const place of entry.sessions) {
      if (place !== winner) this.network.supersedeAt(place.node, clientId, winner);
    }
  }

  private prune(clientId: string, entry: HomeEntry): void {
    if (entry.connections.length === 0 && entry.sessions.length === 0) {
      this.entries.delete(clientId);
    }
  }
}

const isGranted = (place: Place): boolean => place.epoch > 0;

/** The places without those of a node up to that epoch. */
function without(
  places: readonly Place[],
  node: string,
  epoch = Number.POSITIVE_INFINITY,
): readonly Place[] {
  if (places.length === 0) return nowhere;
  if (!places.some((place) => place.node === node && place.epoch <= epoch)) return places;
  const left = places.filter((place) => place.node !== node || place.epoch > epoch);
  return left.length === 0 ? nowhere : left;
}

/** The places with this one instead of the node's earlier one. */
function withPlace(places: readonly Place[], added: Place): readonly Place[] {
  if (places.length === 0) return [added];
  if (places.some((place) => place.node === added.node && place.epoch > added.epoch)) return places;
  return [...without(places, added.node), added];
}

function latest(places: readonly Place[]): Place | undefined {
  let best: Place | undefined;
  for (const place of places) {
    const later =
      best === undefined ||
      place.epoch > best.epoch ||
      (place.epoch === best.epoch && place.node > best.node);
    if (later) best = place;
  }
  return best;
}
