/**
 * What one dead node left in the store that all nodes share: this node adopts the sessions whose home it is, takes what
 * was stored there for itself, and forgets the node's rows and what waits for it when no session is left there.
 */
import { readOutbox, type Sent } from "../../cluster/outbox.js";
import { type Clock, sleep } from "../../lib/clock.js";
import { OutboxReader } from "../../routing/outbox-messages.js";
import type { Adoption } from "../../store/shared.js";
import type { Store } from "../../store/store.js";
import { sessionPrefix } from "../journal/journal.js";
import { decodeMeta, metaKey, type SessionMeta } from "../journal/meta.js";
import { CoveredPlace } from "./covered-place.js";
import { againMs, lastKey, pollMs } from "./parts.js";
import type { Readdressing } from "./readdressing.js";
import { type DeadName, Try, type TryHost } from "./try.js";

export interface DeadNodeHost extends TryHost {
  readonly readdressing: Readdressing;
  /** Under way, by client id. */
  readonly tries: Map<string, Try>;
  /** Is nobody away who may have something for the sessions of that node, and cannot be asked? */
  isComplete(node: string): boolean;
  /** Is it known of all sessions here whether others have adopted them? */
  readonly isSettled: boolean;
}

const partitionsAtOnce = 512;
const triesAtOnce = 64;

export class DeadNode {
  /** Null: there is none, or none any more. */
  place: Adoption | null = null;
  /** Nothing is left. */
  isDone = false;
  private isOver = false;
  /** What it has stored, to be looked at. */
  private readonly seen: Pick<Store, "read">;
  private readonly wanted = new Set<string>();
  private leftForUs: Promise<boolean> | null = null;
  private lastFault = "";

  constructor(
    private readonly host: DeadNodeHost,
    readonly name: DeadName,
  ) {
    this.seen = host.parts.shared.look(name.node);
  }

  /** The node is back, or is no member any more. */
  end(): void {
    this.isOver = true;
    this.place = null;
  }

  async run(): Promise<void> {
    while (!this.isOver && !this.isDone) {
      try {
        await this.pass();
        this.lastFault = "";
      } catch (error) {
        this.noteFault(error);
      }
      if (!this.isDone) await sleep(this.clock, againMs);
    }
  }

  /** A session of it is asked for: it goes first. */
  want(clientId: string): void {
    if (this.wanted.has(clientId)) return;
    this.wanted.add(clientId);
    // A later process, of which this node has not heard, was there meanwhile: it lives, or has left this.
    if (this.isDone) {
      this.isDone = false;
      this.place = this.leftForUs = null;
      void this.run();
    }
    void this.take(clientId)
      .catch((error: unknown) => this.noteFault(error))
      .then(() => sleep(this.clock, againMs))
      .then(() => this.wanted.delete(clientId));
  }

  /** What the node has of that session: null when it has none; `unknown` when that cannot be told now. */
  async metaOf(clientId: string): Promise<SessionMeta | "unknown" | null> {
    if (this.isOver) return "unknown";
    const meta = await readMeta(this.seen, clientId);
    return this.isDone && meta === "unknown" ? null : meta;
  }

  private get clock(): Clock {
    return this.host.parts.clock;
  }

  private async pass(): Promise<void> {
    const { parts } = this.host;
    const { node } = this.name;
    if (this.place === null || this.place.isLost) {
      const place = await this.takePlace();
      if (this.isOver) {
        void place?.done();
        return;
      }
      this.place = place === null ? null : new CoveredPlace(place, () => this.takePlace());
    }
    const { place } = this;
    if (place === null) return;
    this.leftForUs ??= this.takeLeftForUs(place);
    if (!this.host.isComplete(node)) return;
    const names = await this.names(place.store);
    if (names.length === 0) {
      if (this.host.readdressing.isFormer(node)) return;
      if (await this.leftForUs) await this.finish(place);
      else this.leftForUs = null;
      // It may be the one who says whose they are: its start waits while somebody has a place.
      if (!this.host.isSettled) await this.giveBack(place);
      return;
    }
    const { directory } = parts.cluster;
    const own = names
      .map((name) => name.slice(sessionPrefix.length))
      .filter((clientId) => directory.isHome(clientId));
    await this.takeAll(own);
  }

  private async giveBack(place: Adoption): Promise<void> {
    this.place = null;
    await place.done();
  }

  private takePlace(): Promise<Adoption | null> {
    const { cluster, shared } = this.host.parts;
    const { node, dataId, incarnation } = this.name;
    // What was refused was a dial to the process that is known, not to a later one of which others have told.
    const isKnown = cluster.peer(node)?.incarnation === incarnation;
    return shared.adopt(node, dataId, incarnation, isKnown && cluster.sides.isGone(node));
  }

  private async names(store: Store): Promise<string[]> {
    const all: string[] = [];
    for (;;) {
      const names = await store.partitions(sessionPrefix, all.at(-1), partitionsAtOnce);
      all.push(...names);
      if (names.length < partitionsAtOnce) return all;
    }
  }

  private async takeAll(clientIds: readonly string[]): Promise<void> {
    const waiting = [...clientIds];
    const work = async (): Promise<void> => {
      for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
        if (this.isOver) return;
        await this.take(next);
      }
    };
    await Promise.all(Array.from({ length: triesAtOnce }, work));
  }

  private async take(clientId: string): Promise<void> {
    const { place, host } = this;
    const { moves } = host.parts;
    if (place === null || place.isLost || !host.isComplete(this.name.node)) return;
    if (host.tries.has(clientId) || moves.has(clientId)) return;
    const one = new Try(host, this.name, place, clientId);
    host.tries.set(clientId, one);
    try {
      const pending = await one.run();
      if (pending === null) return;
      host.readdressing.add(pending);
      host.readdressing.poke();
    } finally {
      host.tries.delete(clientId);
    }
  }

  /** What the node had accepted for this one and not sent yet. Resolves with whether that is done. */
  private async takeLeftForUs({ store }: Adoption): Promise<boolean> {
    const { cluster } = this.host.parts;
    // It may be for a session that is elsewhere, at that node even, and would be lost with what is left of it here.
    if (!this.host.isSettled) return false;
    const peer = cluster.peer(this.name.node);
    const partition = `outbox/${cluster.name} ${cluster.members.id}`;
    try {
      const [failure] = await store.write([{ partition, operations: [] }]);
      if (failure || peer === undefined) return false;
      let last: Sent | null = null;
      for await (const page of readOutbox(store, partition, this.clock)) {
        for (const sent of page) {
          this.host.counters.leftBehind += sent.count;
          peer.takeLeft(sent.frame);
          last = sent;
        }
      }
      while (last !== null && !peer.hasAccepted(last)) {
        if (this.isOver) return false;
        await sleep(this.clock, pollMs);
      }
      const operations = [{ kind: "deleteRange", from: "", to: lastKey }] as const;
      if (last !== null) await store.write([{ partition, operations }]);
      return true;
    } catch (error) {
      this.noteFault(error);
      return false;
    }
  }

  /** No session is left there, and all that waited for them has been asked for: the node's rows mean nothing any more. */
  private async finish(place: Adoption): Promise<void> {
    const { cluster, log } = this.host.parts;
    const { node } = this.name;
    const peer = cluster.peer(node);
    if (this.isOver || place.isLost || peer === undefined || !peer.sender.isAway) return;
    const waiting = [...peer.sender.waiting()];
    peer.dropRows();
    await this.redispatch(waiting);
    if (this.isOver || !peer.sender.isAway) return;
    peer.sender.giveUp(waiting);
    this.host.readdressing.forget(node);
    this.isDone = true;
    this.host.counters.nodes++;
    log.info({ node }, "nothing is left to adopt of this node");
    await place.done();
  }

  /** What was left for a share group is for other members. Resolves when they have accepted it. */
  private async redispatch(waiting: readonly Sent[]): Promise<void> {
    const { readdressing } = this.host;
    const { router, sessions, clock, cluster } = this.host.parts;
    const reader = new OutboxReader(sessions.router.topics, clock);
    const given: Promise<void>[] = [];
    for (const sent of waiting) {
      for (const { message, shared } of reader.read(sent)) {
        const { incarnation } = sent;
        const { counter, qos } = message;
        const isTaken = readdressing.wasTaken(this.name.node, { incarnation, counter });
        if (qos === 2 && isTaken) continue;
        // It has that number too when this node dies before it is over, and gives it again.
        if (qos === 2 && message.origin === null) {
          message.origin = { name: cluster.name, incarnation };
          message.identity = counter;
        }
        for (const key of shared?.keys ?? []) {
          given.push(
            new Promise((resolve) => {
              const waiter = { expiresMs: message.expiresMs, accept: resolve };
              if (router.redispatch(message, key, false, waiter)) {
                this.host.counters.redispatched++;
              } else resolve();
            }),
          );
        }
      }
    }
    await Promise.all(given);
  }

  private noteFault(error: unknown): void {
    const why = error instanceof Error ? error.message : String(error);
    if (why === this.lastFault) return;
    this.lastFault = why;
    this.host.parts.log.warn({ node: this.name.node, why }, "adopting its sessions has to wait");
  }
}

/** What a store has of a session: null when it has none; `unknown` when it cannot be reached. */
export async function readMeta(
  store: Pick<Store, "read">,
  clientId: string,
): Promise<SessionMeta | "unknown" | null> {
  try {
    const [row] = await store.read(sessionPrefix + clientId, metaKey, 1);
    return row?.[0] === metaKey ? decodeMeta(row[1]) : null;
  } catch {
    return "unknown";
  }
}
