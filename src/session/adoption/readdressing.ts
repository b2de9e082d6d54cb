/**
 * Gives adopted sessions what had waited for their dead nodes with all origins, before anything newer: stand-ins hold what
 * comes directly until each origin, which holds the sessions' new rows by then, has said what its stream to the dead
 * node still held. A session's marks drop what it had taken there already. Then it is whole, and takes what comes. When
 * what the dead nodes' stores still hold of it is gone, too, its client may come.
 */
import { readOutbox } from "../../cluster/outbox.js";
import { type ForwardNumber, isLater } from "../../cluster/position.js";
import { sleep } from "../../lib/clock.js";
import type { Subscriber } from "../../routing/targets.js";
import { OutboxReader } from "../../routing/outbox-messages.js";
import type { Message } from "../../routing/message.js";
import { nameHere } from "../../routing/origins.js";
import type { SharedPart } from "../../routing/shared-forward.js";
import type { Adoption } from "../../store/shared.js";
import type { Store, StoreFailure } from "../../store/store.js";
import { sessionPrefix } from "../journal/journal.js";
import type { StoredSubscription } from "../journal/meta.js";
import { StoredSessions } from "../journal/stored-session.js";
import { MovingIn } from "../move/moving-in.js";
import type { Session } from "../session.js";
import {
  frameOf,
  framesWaiting,
  giveTo,
  noForward,
  setOrigin,
  type WaitingFrame,
} from "../waiting-frames.js";
import { giveLeft } from "./left-to-groups.js";
import { adoptedKey, encodeAdopted, type Former } from "./notes.js";
import { type AdoptionCounters, type AdoptionParts, againMs, lastKey, pollMs } from "./parts.js";

import { readClaims } from "./try.js";
import {
  type Answer,
  adoptionService,
  decodeAnswer,
  encodeQuestion,
  type Question,
} from "./wire.js";

export interface ReaddressingHost {
  readonly parts: AdoptionParts;
  readonly counters: AdoptionCounters;
  /** The place among those who adopt what a node left; null: there is none now. */
  placeOf(node: string): Adoption | null;
}

/** An adopted session that is not open yet. */
export class Pending {
  readonly holder: MovingIn;
  /** What was pulled of this node's own publishes. */
  own: ForwardNumber = noForward;

  constructor(
    readonly session: Session,
    readonly subscriptions: readonly StoredSubscription[],
    readonly formers: readonly Former[],
    /** It has all that had waited for it: it is here for good, and whoever had claimed it is told so. */
    public isWhole = false,
  ) {
    const snapshots = subscriptions.map(({ filter, options, replay }) => {
      const { qos, noLocal, retainAsPublished, subscriptionId } = options;
      return { filter, qos, noLocal, retainAsPublished, subscriptionId, replay };
    });
    this.holder = new MovingIn(session.clientId, session.host, snapshots, true);
    this.formerNames = formers.map(({ node, dataId }) => `${node} ${dataId}`).join("\n");
  }

  readonly formerNames: string;
}

export class Readdressing {
  private readonly pending = new Map<string, Pending>();
  private readonly reader: OutboxReader;
  private readonly stored: StoredSessions;
  private isWorking = false;
  /** Forwards of this node for share groups that members at dead nodes had taken with QoS 2, by node. */
  private readonly taken = new Map<string, Set<string>>();

  constructor(private readonly host: ReaddressingHost) {
    const { sessions, journals, clock } = host.parts;
    this.reader = new OutboxReader(sessions.router.topics, clock);
    this.stored = new StoredSessions(sessions, journals);
  }

  get(clientId: string): Pending | undefined {
    return this.pending.get(clientId);
  }

  get size(): number {
    return this.pending.size;
  }

  /** Is something not done yet that came from there? */
  isFormer(node: string): boolean {
    for (const { formers } of this.pending.values()) {
      if (formers.some((former) => former.node === node)) return true;
    }
    return false;
  }

  /** A session that is committed here; `moves.hold` was called for it. From now on nothing for it is lost. */
  add(pending: Pending): void {
    this.pending.set(pending.session.clientId, pending);
    if (!pending.isWhole) pending.holder.subscribe();
  }

  /** At start, when the members are known. */
  resume(): void {
    for (const one of this.pending.values()) if (one.isWhole) void this.settle(one);
    this.poke();
  }

  /** Goes on with what there is. */
  poke(): void {
    if (this.isWorking) return;
    this.isWorking = true;
    void this.work().then(() => {
      this.isWorking = false;
      if (this.next().length > 0) this.poke();
    });
  }

  noteTaken(node: string, numbers: readonly ForwardNumber[]): void {
    const taken = this.taken.get(node) ?? new Set();
    this.taken.set(node, taken);
    for (const { incarnation, counter } of numbers) taken.add(`${incarnation} ${counter}`);
  }

  /** Had a member of a share group at that node taken this forward with QoS 2 when it died? */
  wasTaken(node: string, { incarnation, counter }: ForwardNumber): boolean {
    return this.taken.get(node)?.has(`${incarnation} ${counter}`) ?? false;
  }

  /** Nothing waits for that node any more. */
  forget(node: string): void {
    this.taken.delete(node);
  }

  /** An adopter asks what waits here for a dead node. */
  answerOutbox(asker: string, question: Question & { verb: "outbox" }): Answer {
    const { cluster, router } = this.host.parts;
    const peer = cluster.peer(asker);
    if (peer === undefined || peer.rows.seq < question.seq) return { kind: "later" };
    const waiting = framesWaiting(cluster, router, question.node, question.after);
    return { kind: "outbox", ...waiting };
  }

  /** Those that can be worked on together: they come from the same nodes. */
  private next(): Pending[] {
    const waiting = [...this.pending.values()].filter(({ isWhole }) => !isWhole);
    return waiting.filter(({ formerNames }) => formerNames === waiting[0]?.formerNames);
  }

  private async work(): Promise<void> {
    const { clock } = this.host.parts;
    // Those that come in one turn go together.
    await sleep(clock, 1);
    const batch = this.next();
    const [first] = batch;
    if (first === undefined) return;
    for (const former of first.formers) await this.pullAll(former, batch);
    await new Promise<void>((resolve) => first.session.whenDurable(resolve));
    for (const one of batch) {
      this.complete(one);
      void this.settle(one);
    }
  }

  /** Nothing that is older can come any more: the session takes what its stand-in holds, and what comes. */
  private complete(pending: Pending): void {
    const { session, subscriptions, formers, holder, own } = pending;
    const { sessions, cluster } = this.host.parts;
    pending.isWhole = true;
    if (sessions.get(session.clientId) !== session) {
      holder.release();
      return;
    }
    for (const one of subscriptions) this.stored.subscribe(session, one);
    const isThisLife = own.incarnation === cluster.members.incarnation;
    holder.handOver(session, { ...own, counter: isThisLife ? own.counter : 0 });
    session.journal?.note(adoptedKey, encodeAdopted({ formers: [...formers], isWhole: true }));
  }

  private async pullAll(former: Former, batch: readonly Pending[]): Promise<void> {
    const { cluster } = this.host.parts;
    const { seq } = cluster.table.digest();
    const sessions = new Map<Subscriber, Session>();
    for (const { holder, session } of batch) sessions.set(holder, session);
    const own = this.pullOwn(former, sessions);
    for (const one of batch) if (isLater(own, one.own)) one.own = own;
    const origins = cluster.members.others().filter(({ name }) => name !== former.node);
    await Promise.all(origins.map(({ name }) => this.pull(name, former, seq, sessions)));
  }

  private pullOwn(former: Former, sessions: ReadonlyMap<Subscriber, Session>): ForwardNumber {
    const { cluster } = this.host.parts;
    const sender = cluster.peer(former.node)?.sender;
    let last: ForwardNumber = noForward;
    const taken: ForwardNumber[] = [];
    for (const sent of sender?.waiting() ?? []) {
      this.deliver(sent, cluster.name, sessions, taken);
      last = { incarnation: sent.incarnation, counter: sent.counter };
    }
    this.noteTaken(former.node, taken);
    return last;
  }

  /** Until all is there that this origin has. */
  private async pull(
    origin: string,
    former: Former,
    seq: number,
    sessions: ReadonlyMap<Subscriber, Session>,
  ): Promise<void> {
    const { cluster, clock } = this.host.parts;
    for (;;) {
      if (!cluster.members.others().some(({ name }) => name === origin)) return;
      const isDown = cluster.state(origin) === "down";
      const place = isDown ? this.host.placeOf(origin) : null;
      if (place !== null && (await this.pullStored(place, origin, former, sessions))) return;
      if (!isDown && (await this.pullAsked(origin, former, seq, sessions))) return;
      await sleep(clock, isDown ? againMs : pollMs);
    }
  }

  private async pullAsked(
    origin: string,
    { node, dataId }: Former,
    seq: number,
    sessions: ReadonlyMap<Subscriber, Session>,
  ): Promise<boolean> {
    const { cluster } = this.host.parts;
    let after: ForwardNumber = noForward;
    let end: ForwardNumber | null = null;
    const taken: ForwardNumber[] = [];
    for (;;) {
      const question = encodeQuestion({ verb: "outbox", node, dataId, seq, after });
      const body = await cluster.ask(origin, adoptionService, question);
      const answer = body === null ? null : decodeAnswer(body);
      if (answer?.kind !== "outbox") return false;
      end ??= answer.newest;
      for (const frame of answer.frames) this.deliver(frameOf(frame), origin, sessions, taken);
      after = answer.last;
      if (answer.frames.length === 0 || !isLater(end, after)) break;
    }
    if (taken.length === 0) return true;
    const question = encodeQuestion({ verb: "taken", node, numbers: taken });
    return (await cluster.ask(origin, adoptionService, question)) !== null;
  }

  /** The origin is dead too: its outbox is in its store. */
  private async pullStored(
    { store, isLost }: Adoption,
    origin: string,
    { node, dataId }: Former,
    sessions: ReadonlyMap<Subscriber, Session>,
  ): Promise<boolean> {
    if (isLost) return false;
    const { clock } = this.host.parts;
    const partition = `outbox/${node} ${dataId}`;
    try {
      // Nothing comes later than what is read.
      const [failure] = await store.write([{ partition, operations: [] }]);
      if (failure) return false;
      for await (const page of readOutbox(store, partition, clock)) {
        for (const sent of page) this.deliver(sent, origin, sessions, []);
      }
      return true;
    } catch {
      return false;
    }
  }

  /** Gives what a frame holds to those of these sessions that subscribe to it, and to nobody else. */
  private deliver(
    sent: WaitingFrame,
    origin: string,
    sessions: ReadonlyMap<Subscriber, Session>,
    taken: ForwardNumber[],
  ): void {
    const { parts, counters } = this.host;
    for (const { message, shared } of this.reader.read(sent)) {
      setOrigin(message, origin, sent.incarnation, parts.cluster.name);
      // What is for groups is chosen for anew, unless a member has had it.
      if (shared !== null && message.qos === 2 && hasTaken(message, shared, sessions.values())) {
        taken.push({ incarnation: sent.incarnation, counter: message.counter });
      }
      if (shared?.only) continue;
      counters.readdressed += giveTo((one) => sessions.get(one), message, parts.router);
    }
  }

  /** What its old owners still have of it goes; then it is open. */
  private async settle(pending: Pending): Promise<void> {
    const { session, formers } = pending;
    for (const former of formers) {
      while (!(await this.settleAt(former, session))) await sleep(this.host.parts.clock, againMs);
    }
    this.open(pending);
  }

  private async settleAt(former: Former, session: Session): Promise<boolean> {
    const { cluster } = this.host.parts;
    const { node, incarnation, by, id } = former;
    if (session.journal?.isOver) return true;
    if (!cluster.members.others().some(({ name }) => name === node)) return true;
    if (cluster.state(node) === "down") return await this.deleteAt(former, session);
    // A process that lives, cut off until now, does not know of it, and ends.
    if ((cluster.peer(node)?.incarnation ?? 0) <= incarnation) return false;
    const { clientId } = session;
    const question = encodeQuestion({ verb: "settled", clientId, by, id });
    const body = await cluster.ask(node, adoptionService, question);
    return body !== null && decodeAnswer(body)?.kind === "settled";
  }

  private async deleteAt({ node, by, id }: Former, session: Session): Promise<boolean> {
    const { cluster } = this.host.parts;
    const place = this.host.placeOf(node);
    const partition = session.journal?.partition;
    if (place === null || place.isLost || partition === undefined) return false;
    const { store } = place;
    const fence = session.epoch;
    try {
      const claims = await readClaims(store, partition);
      const nextSeq = claims.find((one) => one.node === by && one.id === id)?.nextSeq ?? 0;
      let failure = nextSeq > 0 ? await this.giveLate(node, session, store, nextSeq) : null;
      const operations = [{ kind: "deleteRange", from: "", to: lastKey }] as const;
      failure ??= (await store.write([{ partition, fence, operations }]))[0] ?? null;
      if (failure === null) return true;
      if (failure.kind !== "fenced" || place.isLost) return false;
      // Somebody came too late with a claim: it may be written to with a later epoch alone, there and, some day, here.
      for (const { epoch } of claims) cluster.observeStamp(epoch);
      session.epoch = cluster.nextStamp();
      session.journal?.noteMeta();
      return false;
    } catch {
      return false;
    }
  }

  /** What the node took of share groups when it was back, and did not know of the adoption. */
  private async giveLate(
    node: string,
    { clientId, epoch: fence }: Session,
    store: Store,
    from: number,
  ): Promise<StoreFailure | null> {
    const { parts, counters } = this.host;
    const partition = sessionPrefix + clientId;
    // Nothing comes later than what is read.
    const [failure] = await store.write([{ partition, fence, operations: [] }]);
    if (failure) return failure;
    const stored = await this.stored.read(store, partition);
    const names = (name: string): string => nameHere(name, node, parts.cluster.name);
    const left = { store, partition, clientId, from, names };
    counters.redispatched += await giveLeft(parts, stored, left);
    return null;
  }

  private open({ session }: Pending): void {
    const { sessions, moves, cluster } = this.host.parts;
    const { clientId } = session;
    this.pending.delete(clientId);
    if (sessions.get(clientId) === session) {
      this.host.counters.sessions++;
      this.host.counters.messages += session.queued + session.window.inFlight;
      session.journal?.note(adoptedKey, null);
      cluster.directory.changed(clientId, session.epoch);
    }
    moves.release(clientId);
  }
}

/** Has one of these sessions taken it as a member of one of its groups? */
function hasTaken(
  { origin, identity }: Message,
  { keys }: SharedPart,
  sessions: Iterable<Session>,
): boolean {
  if (origin === null) return false;
  for (const { journal } of sessions) {
    if (keys.some((key) => journal?.marks.hasShared(origin, identity, key))) return true;
  }
  return false;
}
