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
} from "./directory-types.js";
import { type ClaimReply, Home, type HomeNetwork } from "./home.js";
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

/** A claim of one of our own connections, from CONNECT until it is attached or refused. */
interface OwnClaim {
  readonly claim: Claim;
  readonly done: (result: ClaimResult) => void;
  readonly deadlineMs: number;
  /** 0 until the home has granted it. */
  epoch: number;
  over: boolean;
}

/** How long a claim tries to find a home that agrees on the members. */
const claimTimeoutMs = 10_000;
const retryMs = 50;

const nobody: ConnectionHost = {
  displace: (_clientId, _epoch, done) => done(),
  entries: () => [],
  entry: () => undefined,
};

export class DirectoryService implements Directory, HomeNetwork {
  readonly counters = { claims: 0, retries: 0, superseded: 0, takeovers: 0, takeoverTimeouts: 0 };
  readonly home: Home;
  private host: ConnectionHost = nobody;
  private readonly claims = new Map<string, OwnClaim[]>();
  private live: readonly string[] = [];
  private listHash = 0;
  private announceDue = false;

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
    this.announceSoon();
  }

  members(): readonly string[] {
    return this.live;
  }

  list(): number {
    return this.listHash;
  }

  nextEpoch(): number {
    return this.network.stamps.next();
  }

  observeEpoch(epoch: number): void {
    this.network.stamps.observe(epoch);
  }

  claim(claim: Claim, done: (result: ClaimResult) => void): void {
    this.counters.claims++;
    const deadlineMs = this.network.clock.monotonicMs() + claimTimeoutMs;
    const own: OwnClaim = { claim, done, deadlineMs, epoch: 0, over: false };
    const waiting = this.claims.get(claim.clientId);
    if (waiting === undefined) this.claims.set(claim.clientId, [own]);
    else waiting.push(own);
    this.ask(own);
  }

  attached(clientId: string, epoch: number): void {
    this.tellHome("attached", clientId, { clientId, epoch });
  }

  released(clientId: string, epoch: number, persistent: boolean): void {
    this.tellHome("released", clientId, { clientId, epoch, persistent });
  }

  ended(clientId: string, epoch: number): void {
    this.tellHome("ended", clientId, { clientId, epoch });
  }

  /** A peer, or this node itself, wants our connection of that client id closed if it is older. */
  displace(clientId: string, epoch: number, done: (persistent: boolean) => void): void {
    this.network.stamps.observe(epoch);
    for (const own of [...(this.claims.get(clientId) ?? [])]) {
      // One that was not granted yet can only be older: the home that grants it now lists the newer.
      if (own.epoch < epoch) this.supersede(own);
    }
    this.host.displace(clientId, epoch, () => {
      const persistent = this.host.entry(clientId)?.persistent ?? false;
      // Confirmed: nothing older than that is open here.
      this.released(clientId, epoch - 1, persistent);
      done(persistent);
    });
  }

  /** What this node itself has of a client id: also a connection that is about to be attached. */
  entry(clientId: string): DirectoryEntry | null {
    const [own] = this.claims.get(clientId) ?? [];
    if (own !== undefined) return entryOf(own);
    return this.host.entry(clientId) ?? null;
  }

  entryAt(node: string, clientId: string, done: (entry: DirectoryEntry | null) => void): void {
    this.call(node, "entry", { clientId }, done, () => done(this.entry(clientId)));
  }

  displaceAt(node: string, clientId: string, epoch: number): void {
    const ignore = (): void => undefined;
    this.call(node, "displace", { clientId, epoch }, ignore, () =>
      this.displace(clientId, epoch, ignore),
    );
  }

  private ask(own: OwnClaim): void {
    if (own.over) return;
    const { clientId, user } = own.claim;
    const list = this.listHash;
    const body = { clientId, user, list };
    const answer = (reply: ClaimReply | null): void => this.onAnswer(own, list, reply);
    this.call(this.homeOf(clientId), "claim", body, answer, () =>
      this.home.claim(this.self, body, answer),
    );
  }

  private onAnswer(own: OwnClaim, list: number, reply: ClaimReply | null): void {
    if (own.over) {
      // Superseded or given up while the home thought about it: nobody will use this grant.
      if (reply !== null && "epoch" in reply) {
        this.released(own.claim.clientId, reply.epoch, false);
      }
      return;
    }
    if (reply === null || list !== this.listHash) {
      this.askAgain(own);
      return;
    }
    if ("refused" in reply) {
      if (reply.refused === "other-list") this.askAgain(own);
      else this.finish(own, { granted: false, why: reply.refused });
      return;
    }
    this.network.stamps.observe(reply.epoch);
    own.epoch = reply.epoch;
    new Takeover(this, own, reply, this.network.clock, this.network.takeoverTimeoutMs).start();
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

  private supersede(own: OwnClaim): void {
    if (own.over) return;
    this.counters.superseded++;
    this.finish(own, { granted: false, why: "superseded" });
  }

  /** Ends a claim: its connection is told. */
  finish(own: OwnClaim, result: ClaimResult): void {
    if (own.over) return;
    own.over = true;
    const { clientId } = own.claim;
    const others = (this.claims.get(clientId) ?? []).filter((other) => other !== own);
    if (others.length === 0) this.claims.delete(clientId);
    else this.claims.set(clientId, others);
    own.done(result);
  }

  /** Has one older connection closed, wherever it is. `done` gets whether its session lives on. */
  closeAt(node: string, clientId: string, epoch: number, done: (kept: boolean) => void): void {
    const answer = (reply: ReplyBody<"displace"> | null): void => {
      if (reply !== null) done(reply.persistent);
      else if (!this.live.includes(node)) done(false);
      else this.network.clock.setTimer(retryMs, () => this.closeAt(node, clientId, epoch, done));
    };
    this.call(node, "displace", { clientId, epoch }, answer, () =>
      this.displace(clientId, epoch, done),
    );
  }

  private homeOf(clientId: string): string {
    return this.live.length === 1 ? this.self : home(clientId, this.live);
  }

  private tellHome<V extends "attached" | "released" | "ended">(
    verb: V,
    clientId: string,
    body: CallBody<V>,
  ): void {
    const node = this.homeOf(clientId);
    if (node !== this.self) {
      this.network.linkTo(node)?.call(verb, body, () => undefined);
      return;
    }
    this.onReport(verb, this.self, body);
  }

  /** A report of a claimant, to the home. */
  onReport(verb: "attached" | "released" | "ended", node: string, body: unknown): void {
    // The body was checked against the verb's schema, or made above.
    if (verb === "attached") this.home.attached(node, body as CallBody<"attached">);
    else if (verb === "released") this.home.released(node, body as CallBody<"released">);
    else this.home.ended(node, body as CallBody<"ended">);
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

  private announceSoon(): void {
    if (this.announceDue) return;
    this.announceDue = true;
    this.network.clock.defer(() => {
      this.announceDue = false;
      this.announce();
    });
  }

  private announce(): void {
    const perHome = new Map<string, DirectoryEntry[]>();
    for (const node of this.live) perHome.set(node, []);
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
    for (const waiting of this.claims.values()) for (const own of waiting) yield entryOf(own);
  }
}

const entryOf = (own: OwnClaim): DirectoryEntry => ({
  clientId: own.claim.clientId,
  user: own.claim.user,
  epoch: own.epoch,
  connected: true,
  persistent: false,
});

/** Closes every older connection of a granted claim, then lets the claimant go on. */
class Takeover {
  private open: number;
  private sessionAt: string | null;
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
    if (this.open === 0) {
      this.end();
      return;
    }
    directory.counters.takeovers++;
    const timer = this.clock.setTimer(this.timeoutMs, () => {
      directory.counters.takeoverTimeouts++;
      this.end();
    });
    for (const { node } of grant.connections) {
      directory.closeAt(node, own.claim.clientId, grant.epoch, (kept) => {
        if (kept) this.sessionAt = node;
        if (--this.open > 0) return;
        this.clock.clearTimer(timer);
        this.end();
      });
    }
  }

  private end(): void {
    if (this.over) return;
    this.over = true;
    const elsewhere = this.sessionAt === this.directory.self ? null : this.sessionAt;
    const result = { granted: true, epoch: this.grant.epoch, sessionAt: elsewhere } as const;
    this.directory.finish(this.own, result);
  }
}
