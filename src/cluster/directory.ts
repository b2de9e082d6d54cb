/**
 * Client id → where its connection and session are, over the whole cluster. This is the claimant's
 * side: it asks the id's home (home.ts) for the right to serve a connection, has older connections
 * closed, and tells the home what became of it. A single node is its own home and answers at once.
 */
import type { Clock } from "../lib/clock.js";
import { hashString } from "../lib/hash.js";
import type { HybridClock } from "../lib/hlc.js";
import type {
  Claim,
  ClaimResult,
  ConnectionHost,
  Directory,
  DirectoryEntry,
  SessionPlace,
} from "./directory-types.js";
import { type ClaimReply, Home, type HomeNetwork, type Place } from "./home.js";
import type { Link } from "./link.js";
import { home } from "./rendezvous.js";
import type { CallBody, CallVerb, ReplyBody } from "./wire/messages.js";

export interface DirectoryNetwork {
  readonly self: string;
  readonly clock: Clock;
  readonly stamps: HybridClock;
  /** Every member that is up or suspect, this node included. */
  liveMembers(): readonly string[];
  /** The link to a member; null while there is none. */
  linkTo(node: string): Link | null;
  readonly takeoverTimeoutMs: number;
}

/** A claim of one of our own connections, from CONNECT until it is answered. */
class OwnClaim {
  /** 0 until the home has granted it. */
  epoch = 0;
  /** Highest epoch that any home gave it, also of a grant that came too late. */
  givenEpoch = 0;
  /** A grant below this epoch is history: a newer claim has asked for its close already. */
  floor = 0;
  over = false;
  /** The home knows of more sessions than one. */
  older = false;
  /** It was made anew, as its session had left its node meanwhile. */
  isSecond = false;

  constructor(
    readonly claim: Claim,
    readonly done: (result: ClaimResult) => void,
    readonly deadlineMs: number,
  ) {}

  get isWanted(): boolean {
    return this.claim.by.isOpen;
  }

  get hasLeft(): boolean {
    return this.claim.by.hasLeft === true;
  }
}

/** A claim that was granted, until the session layer says what became of it. */
class Grant {
  /** Newer claims that wait for its end. */
  waiting: (() => void)[] | null = null;

  constructor(
    readonly clientId: string,
    readonly epoch: number,
    readonly user: string,
  ) {}

  end(): void {
    if (this.waiting !== null) for (const close of this.waiting) close();
  }
}

/** Grants by client id. Most end in the turn in which they began, so the latest one is not put into the map. */
class Grants {
  private latest: Grant | null = null;
  private readonly others = new Map<string, Grant>();

  get(clientId: string): Grant | undefined {
    const { latest, others } = this;
    if (latest !== null && latest.clientId === clientId) return latest;
    return others.size === 0 ? undefined : others.get(clientId);
  }

  /** Adds one, or puts it in the place of an earlier one of its client id. */
  set(grant: Grant): void {
    const { latest, others } = this;
    if (latest !== null && latest.clientId !== grant.clientId) others.set(latest.clientId, latest);
    if (others.size > 0) others.delete(grant.clientId);
    this.latest = grant;
  }

  delete(grant: Grant): void {
    if (this.latest === grant) this.latest = null;
    else this.others.delete(grant.clientId);
  }

  *all(): Iterable<Grant> {
    yield* this.others.values();
    if (this.latest !== null) yield this.latest;
  }
}

/** How long a claim tries to find a home that agrees on the members. */
const claimTimeoutMs = 10_000;
const retryMs = 50;
/** … for a client that has gone. */
const leftTimeoutMs = 1_000;

const nobody: ConnectionHost = {
  displace: (_clientId, _epoch, done) => done(null),
  entries: () => [],
  entry: () => undefined,
};

export class DirectoryService implements Directory, HomeNetwork {
  readonly counters = {
    claims: 0,
    retries: 0,
    superseded: 0,
    /** Their connections closed while they waited. */
    givenUp: 0,
    takeovers: 0,
    takeoverTimeouts: 0,
  };
  readonly home: Home;
  private host: ConnectionHost = nobody;
  private readonly claims = new Map<string, OwnClaim>();
  private readonly grants = new Grants();
  private live: readonly string[] = [];
  private listHash = 0;
  /** Members that must hear at the end of the turn what we have. */
  private readonly toTell = new Set<string>();

  constructor(private readonly network: DirectoryNetwork) {
    this.home = new Home(this);
    this.onMembersChanged();
  }

  get self(): string {
    return this.network.self;
  }

  /** The session layer, once it exists. */
  attachHost(host: ConnectionHost): void {
    this.host = host;
  }

  /** Must be called whenever a member became live or ceased to be. */
  onMembersChanged(): void {
    const live = [...this.network.liveMembers()].sort();
    const hash = hashString(live.join("\n"));
    if (hash === this.listHash && live.length === this.live.length) return;
    this.live = live;
    this.listHash = hash;
    this.home.onListChanged();
    for (const node of live) this.announceSoon(node);
  }

  /** A new link to the member is up: what was said on the one before may be lost. */
  onLinked(node: string): void {
    this.announceSoon(node);
  }

  members(): readonly string[] {
    return this.live;
  }

  list(): number {
    return this.listHash;
  }

  isHome(clientId: string): boolean {
    return this.homeOf(clientId) === this.self;
  }

  nextEpoch(): number {
    return this.network.stamps.next();
  }

  observeEpoch(epoch: number): void {
    this.network.stamps.observe(epoch);
  }

  claim(claim: Claim, done: (result: ClaimResult) => void): void {
    this.counters.claims++;
    const epoch = this.grantAtOnce(claim);
    if (epoch !== 0) {
      done({ granted: true, epoch, sessionAt: null });
      return;
    }
    const deadlineMs = this.network.clock.monotonicMs() + claimTimeoutMs;
    const own = new OwnClaim(claim, done, deadlineMs);
    const before = this.claims.get(claim.clientId);
    if (before !== undefined) this.supersede(before);
    this.claims.set(claim.clientId, own);
    this.ask(own);
  }

  /**
   * What most claims are: their home is here, and nobody in the cluster has anything of the client id. Returns the
   * epoch of the grant, 0 when it is not so simple.
   */
  private grantAtOnce({ clientId, user }: Claim): number {
    const isFree = !this.claims.has(clientId) && this.grants.get(clientId) === undefined;
    if (!isFree || !this.isHome(clientId) || (this.host.isOwed?.(clientId) ?? true)) return 0;
    const epoch = this.home.grantNew(this.self, clientId, user);
    if (epoch !== 0) this.grants.set(new Grant(clientId, epoch, user));
    return epoch;
  }

  isOutdated(clientId: string, epoch: number): boolean {
    const grant = this.grants.get(clientId);
    if (grant === undefined || grant.epoch < epoch) return false;
    return grant.epoch > epoch || grant.waiting !== null;
  }

  attached(clientId: string, epoch: number): void {
    this.endGrant(clientId, epoch);
  }

  released(clientId: string, epoch: number): void {
    this.endGrant(clientId, epoch);
  }

  changed(clientId: string, epoch: number): void {
    this.tellHeld(clientId, epoch);
  }

  /**
   * A peer, or this node itself, wants our connection of that client id closed if it is older. `done` hears where
   * the session is then, as far as this node knows.
   */
  displace(clientId: string, epoch: number, done: (sessionAt: string | null) => void): void {
    this.network.stamps.observe(epoch);
    const own = this.claims.get(clientId);
    if (own !== undefined && own.epoch < epoch) {
      own.floor = Math.max(own.floor, epoch);
      // One that was not granted yet may still turn out to be the newer.
      if (own.epoch > 0) this.supersede(own);
    }
    const grant = this.grants.get(clientId);
    const close = (): void => this.close(clientId, epoch, done);
    if (grant === undefined || grant.epoch >= epoch) close();
    else {
      grant.waiting ??= [];
      grant.waiting.push(close);
    }
  }

  private close(clientId: string, epoch: number, done: (sessionAt: string | null) => void): void {
    this.host.displace(clientId, epoch, (elsewhere) => {
      // Confirmed: nothing older than that is open here.
      this.tellHeld(clientId, epoch - 1);
      const session = this.host.entry(clientId)?.session ?? null;
      // There may be an older one here.
      done(elsewhere ?? (session === null ? null : this.self));
    });
  }

  /** What this node itself has of a client id: also a connection that is about to be attached. */
  entry(clientId: string): DirectoryEntry | null {
    const held = this.host.entry(clientId) ?? null;
    if (held !== null && held.connection !== null) return held;
    const grant = this.grants.get(clientId);
    if (grant !== undefined) return claimEntry(clientId, grant, held);
    const own = this.claims.get(clientId);
    if (!own?.isWanted) return held;
    return claimEntry(clientId, { user: own.claim.user, epoch: own.epoch }, held);
  }

  entryAt(
    node: string,
    clientId: string,
    done: (entry: DirectoryEntry | null | undefined) => void,
  ): void {
    const link = node === this.self ? null : this.network.linkTo(node);
    const answer = (entry: DirectoryEntry | null): void => {
      done(entry === null && (link?.isOver ?? true) ? undefined : entry);
    };
    this.call(node, "entry", { clientId }, answer, () => done(this.entry(clientId)));
  }

  displaceAt(node: string, clientId: string, epoch: number): void {
    const ignore = (): void => undefined;
    this.call(node, "displace", { clientId, epoch }, ignore, () =>
      this.displace(clientId, epoch, ignore),
    );
  }

  supersedeAt(node: string, clientId: string, winner: Place): void {
    const body = { clientId, epoch: winner.epoch, node: winner.node };
    const here = (): void => this.onSuperseded(clientId, winner.epoch, winner.node);
    this.call(node, "supersede", body, () => undefined, here);
  }

  /** The home says that a session which is here, if it is, has lost its place. */
  onSuperseded(clientId: string, epoch: number, by: string): void {
    this.network.stamps.observe(epoch);
    this.host.supersede?.(clientId, epoch, by);
  }

  beforeGrant(clientId: string, done: (isKnown: boolean) => void): void {
    if (this.host.beforeGrant === undefined) done(true);
    else this.host.beforeGrant(clientId, done);
  }

  private ask(own: OwnClaim): void {
    if (own.over || this.isGivenUp(own)) return;
    const { clientId, user } = own.claim;
    const list = this.listHash;
    const body = { clientId, user, list };
    const answer = (reply: ClaimReply | null): void => this.onAnswer(own, list, reply);
    this.call(this.homeOf(clientId), "claim", body, answer, () =>
      this.home.claim(this.self, body, answer),
    );
  }

  private onAnswer(own: OwnClaim, list: number, reply: ClaimReply | null): void {
    if (reply !== null && "epoch" in reply) {
      this.network.stamps.observe(reply.epoch);
      own.givenEpoch = Math.max(own.givenEpoch, reply.epoch);
    }
    if (own.over) {
      // Superseded or given up while the home thought about it: nobody will use this grant.
      if (own.givenEpoch > 0) this.tellHeld(own.claim.clientId, own.givenEpoch);
      return;
    }
    // Nobody is displaced for it: the client may be connected elsewhere by now.
    const others = reply !== null && "epoch" in reply ? reply.connections : [];
    if (this.isGivenUp(own, others)) return;
    if (reply === null || list !== this.listHash) {
      this.askAgain(own);
      return;
    }
    if ("refused" in reply) {
      if (reply.refused === "other-list") this.askAgain(own);
      else this.finish(own, { granted: false, why: reply.refused });
      return;
    }
    own.epoch = reply.epoch;
    own.older = reply.older === true;
    if (own.epoch < own.floor) {
      this.supersede(own);
      return;
    }
    if (reply.connections.length === 0) this.finishGranted(own, reply.session);
    else new Takeover(this, own, reply, this.network.clock, this.network.takeoverTimeoutMs).start();
  }

  private askAgain(own: OwnClaim): void {
    this.counters.retries++;
    const { clock } = this.network;
    if (clock.monotonicMs() >= own.deadlineMs) {
      this.finish(own, { granted: false, why: "unavailable" });
      return;
    }
    clock.setTimer(retryMs, () => this.ask(own));
  }

  /** Has its connection closed? Then it ends. `others`: connections that its grant displaces. */
  private isGivenUp(own: OwnClaim, others: readonly Place[] = []): boolean {
    if (own.isWanted && !(own.hasLeft && this.isInTheWay(own, others))) return false;
    this.counters.givenUp++;
    this.finish(own, { granted: false, why: "superseded" });
    return true;
  }

  /** The claim of a client that has gone: has it waited for long, or may one of the others be newer? */
  private isInTheWay(own: OwnClaim, others: readonly Place[]): boolean {
    const leftMs = own.deadlineMs - this.network.clock.monotonicMs();
    if (leftMs <= claimTimeoutMs - leftTimeoutMs) return true;
    // A newer one that is here would have taken the claim's place.
    return others.some(({ node }) => node !== this.self);
  }

  private supersede(own: OwnClaim): void {
    if (own.over) return;
    this.counters.superseded++;
    this.finish(own, { granted: false, why: "superseded" });
  }

  /** Its session has left the node where it was when the claim was granted: it may be at another one now. */
  claimAnew(own: OwnClaim): void {
    if (own.over) return;
    own.isSecond = true;
    this.askAgain(own);
  }

  /** Ends a claim that was granted, when no older connection is left. */
  finishGranted(own: OwnClaim, sessionAt: SessionPlace | null): void {
    const elsewhere = sessionAt?.node === this.self ? null : sessionAt;
    const { epoch, older } = own;
    this.finish(own, { granted: true, epoch, sessionAt: elsewhere, older });
  }

  /** Ends a claim: its connection is told. */
  private finish(own: OwnClaim, result: ClaimResult): void {
    if (own.over) return;
    own.over = true;
    const { clientId, user } = own.claim;
    if (this.claims.get(clientId) === own) this.claims.delete(clientId);
    // A claim that came to nothing: the home must not believe that it became a connection.
    if (!result.granted) this.tellHeld(clientId, own.givenEpoch);
    else {
      const before = this.grants.get(clientId);
      this.grants.set(new Grant(clientId, result.epoch, user));
      before?.end();
    }
    own.done(result);
  }

  /** Tells the home what this node has of a client id up to that epoch: what is there, and no more. */
  private tellHeld(clientId: string, epoch: number): void {
    const report = { clientId, epoch, entry: this.entry(clientId) };
    const node = this.homeOf(clientId);
    if (node === this.self) this.home.holds(node, report);
    else this.network.linkTo(node)?.call("holds", report, () => undefined);
  }

  /** The session layer has said what became of a claim that was granted. */
  private endGrant(clientId: string, epoch: number): void {
    const grant = this.grants.get(clientId);
    const isOver = grant !== undefined && grant.epoch <= epoch;
    if (isOver) this.grants.delete(grant);
    this.tellHeld(clientId, epoch);
    if (isOver) grant.end();
  }

  /**
   * Has one older connection closed, wherever it is. `done` hears where its session lives on; undefined: its node is
   * down and nobody knows.
   */
  closeAt(
    node: string,
    clientId: string,
    epoch: number,
    done: (sessionAt: string | null | undefined) => void,
  ): void {
    const answer = (reply: ReplyBody<"displace"> | null): void => {
      if (reply !== null) done(reply.session);
      else if (!this.isLive(node)) done(undefined);
      else this.network.clock.setTimer(retryMs, () => this.closeAt(node, clientId, epoch, done));
    };
    this.call(node, "displace", { clientId, epoch }, answer, () =>
      this.displace(clientId, epoch, done),
    );
  }

  get adopts(): boolean {
    return this.host.adopts ?? false;
  }

  isLive(node: string): boolean {
    return this.live.includes(node);
  }

  private homeOf(clientId: string): string {
    return this.live.length === 1 ? this.self : home(clientId, this.live);
  }

  /** Asks a member, or does it here when that is this node. Null: there is no link, or it broke. */
  private call<V extends CallVerb>(
    node: string,
    verb: V,
    body: CallBody<V>,
    done: (reply: ReplyBody<V> | null) => void,
    here: () => void,
  ): void {
    if (node === this.self) here();
    else {
      const link = this.network.linkTo(node);
      if (link === null) done(null);
      else link.call(verb, body, done);
    }
  }

  private announceSoon(node: string): void {
    if (this.toTell.size === 0) this.network.clock.defer(() => this.announce());
    this.toTell.add(node);
  }

  private announce(): void {
    const perHome = new Map<string, DirectoryEntry[]>();
    for (const node of this.toTell) perHome.set(node, []);
    this.toTell.clear();
    for (const entry of this.ownEntries()) perHome.get(this.homeOf(entry.clientId))?.push(entry);
    for (const [node, entries] of perHome) {
      const body = { list: this.listHash, entries };
      this.call(
        node,
        "announce",
        body,
        () => undefined,
        () => this.home.announce(node, body),
      );
    }
  }

  private *ownEntries(): Iterable<DirectoryEntry> {
    for (const entry of this.host.entries()) yield entry;
    for (const grant of this.grants.all()) yield claimEntry(grant.clientId, grant, null);
    for (const [clientId, { claim, epoch, isWanted }] of this.claims) {
      if (isWanted) yield claimEntry(clientId, { user: claim.user, epoch }, null);
    }
  }
}

/** A claim in the eyes of a home: a connection that is about to be attached, beside what is here already. */
function claimEntry(
  clientId: string,
  { user, epoch }: { readonly user: string; readonly epoch: number },
  held: DirectoryEntry | null,
): DirectoryEntry {
  return { clientId, user, connection: epoch, session: held?.session ?? null };
}

/** Closes every older connection of a granted claim, then lets the claimant go on. */
class Takeover {
  private open: number;
  private sessionAt: SessionPlace | null;
  /** It is not where the home knew it. */
  private hasGone = false;
  private over = false;

  constructor(
    private readonly directory: DirectoryService,
    private readonly own: OwnClaim,
    private readonly grant: Extract<ClaimReply, { epoch: number }>,
    private readonly clock: Clock,
    private readonly timeoutMs: number,
  ) {
    this.open = grant.connections.length;
    this.sessionAt = grant.session;
  }

  start(): void {
    const { directory, grant, own } = this;
    directory.counters.takeovers++;
    const unheard = new Set(grant.connections.map(({ node }) => node));
    const timer = this.clock.setTimer(this.timeoutMs, () => {
      directory.counters.takeoverTimeouts++;
      for (const node of unheard) this.onClosed(node, undefined);
      this.end();
    });
    for (const { node } of grant.connections) {
      directory.closeAt(node, own.claim.clientId, grant.epoch, (sessionAt) => {
        unheard.delete(node);
        this.onClosed(node, sessionAt);
        if (--this.open > 0) return;
        this.clock.clearTimer(timer);
        this.end();
      });
    }
  }

  /** Who had the connection knows best what is left. */
  private onClosed(node: string, sessionAt: string | null | undefined): void {
    const { directory } = this;
    if (sessionAt === undefined) {
      // It may have died before its home heard that the session outlives the connection.
      if (directory.adopts) this.sessionAt ??= { node, isUp: directory.isLive(node) };
      return;
    }
    if (sessionAt !== null) {
      this.sessionAt = { node: sessionAt, isUp: this.directory.isLive(sessionAt) };
    } else if (this.sessionAt?.node === node) {
      this.sessionAt = null;
      this.hasGone = true;
    }
  }

  private end(): void {
    if (this.over) return;
    this.over = true;
    if (this.hasGone && this.sessionAt === null && !this.own.isSecond) {
      this.directory.claimAnew(this.own);
    } else this.directory.finishGranted(this.own, this.sessionAt);
  }
}
