/**
 * Sessions of nodes that died, where all nodes reach each other's stores: each survivor adopts those whose home it is. A
 * client whose session is being adopted waits for it; a second session of its id does not begin.
 */
import { sleep } from "../../lib/clock.js";
import { isShared } from "../../protocol/topics.js";
import { rowValue } from "../../routing/leaf.js";
import type { Message } from "../../routing/message.js";
import { againOrigin, originOf } from "../../routing/origins.js";
import type { Adoption } from "../../store/shared.js";
import type { SessionMeta, StoredSubscription } from "../journal/meta.js";
import type { MoveOutcome } from "../move/moves.js";
import type { Session } from "../session.js";
import { type Claim, encodeClaim, highestOf, ownerOf } from "./claims.js";
import { DeadNode, type DeadNodeHost, readMeta } from "./dead-node.js";
import type { AdoptedNote } from "./notes.js";
import type { Try } from "./try.js";
import { AdoptionCounters, type AdoptionParts, againMs } from "./parts.js";
import { Pending, Readdressing } from "./readdressing.js";
import {
  type Answer,
  adoptionService,
  decodeQuestion,
  encodeAnswer,
  type Question,
} from "./wire.js";

/** How long a CONNECT waits for its session to be adopted. */
const connectMs = 8_000;
const settledPollMs = 50;
const grantPollMs = 10;

interface MaybeThere {
  readonly node: string;
  readonly meta: SessionMeta | null;
}

interface Doubted {
  readonly session: Session;
  /** With the number of the first message that the session took in doubt, in this process or an earlier one. */
  readonly claim: Claim;
}

const nowhere: MaybeThere = { node: "", meta: null };

export class Adoptions implements DeadNodeHost {
  readonly counters = new AdoptionCounters();
  readonly readdressing: Readdressing;
  /** Under way, by client id. */
  readonly tries = new Map<string, Try>();
  private readonly dead = new Map<string, DeadNode>();
  /** Sessions here that others wanted to adopt while this node was down, and may have; by client id. */
  private readonly doubted = new Map<string, Doubted>();
  private isRunning = false;

  constructor(readonly parts: AdoptionParts) {
    this.readdressing = new Readdressing(this);
    const { cluster, moves } = parts;
    cluster.services.offer(adoptionService, (peer, body, reply) => {
      const question = decodeQuestion(body);
      if (question === null) reply(null);
      else this.answer(peer, question, (answer) => reply(encodeAnswer(answer)));
    });
    moves.adopted = (from, clientId, id) => this.outcome(from, clientId, id);
  }

  /** Sessions that were adopted and are not open yet. */
  get pending(): number {
    return this.readdressing.size;
  }

  /** Members are known: what an earlier process had begun goes on, and what dies from now on is adopted. */
  start(): void {
    this.isRunning = true;
    this.parts.cluster.changes.watchers.add(() => this.look());
    this.look();
    this.readdressing.resume();
  }

  /** How far this node is with what a member left; null: it is not down. */
  progressOf(node: string): "waiting" | "under_way" | "done" | null {
    const dead = this.dead.get(node);
    if (dead === undefined) return null;
    if (dead.isDone) return "done";
    return this.placeOf(node) === null ? "waiting" : "under_way";
  }

  placeOf(node: string): Adoption | null {
    const place = this.dead.get(node)?.place ?? null;
    return place === null || place.isLost ? null : place;
  }

  isComplete(node: string): boolean {
    const { cluster } = this.parts;
    return cluster.members.others().every(({ name }) => {
      if (name === node) return true;
      const state = cluster.state(name);
      return state === "up" || (state === "down" && this.placeOf(name) !== null);
    });
  }

  /** At start: others had wanted to adopt the session. Who was first says whether it has. */
  restoreClaimed(session: Session, claims: readonly Claim[]): void {
    const { clientId, journal } = session;
    const owner = ownerOf(claims);
    for (const { key } of claims) {
      if (key !== owner?.key) journal?.note(key, null);
    }
    if (owner === null || journal === null) {
      session.epoch = Math.max(session.epoch, highestOf(claims));
      journal?.noteMeta();
      return;
    }
    const { node, id } = owner;
    // What an earlier process took in doubt came to nobody else either.
    const nextSeq = owner.nextSeq > 0 ? owner.nextSeq : journal.nextSeq;
    this.doubted.set(clientId, { session, claim: { ...owner, nextSeq } });
    this.parts.moves.restoreOutgoing(session, { node, id, nextSeq });
    this.parts.moves.whenSettled(clientId, () => {
      this.doubted.delete(clientId);
      if (this.parts.sessions.get(clientId) === session)
        this.keep(session, owner, highestOf(claims));
    });
  }

  /** At start: a session was adopted by an earlier process, which had not done all that belongs to it. */
  restoreAdopted(
    session: Session,
    { formers, isWhole }: AdoptedNote,
    subscriptions: readonly StoredSubscription[],
  ): void {
    this.parts.moves.hold(session.clientId);
    this.readdressing.add(new Pending(session, subscriptions, formers, isWhole === true));
  }

  /**
   * At start, before anything is published: who may have such a session had no chance to tell this node its rows. What is
   * published here while he is away is for the session there, too; that may be another one than the claim's, who adopted it
   * from that one.
   */
  expectRows(): void {
    const { cluster } = this.parts;
    const peers = cluster.members.others().map(({ name }) => cluster.peer(name));
    for (const { session, claim } of this.doubted.values()) {
      const { journal, subscriptions } = session;
      // Before anything comes to it: a later process is to know what did.
      if (journal?.isOver === false) {
        journal.note(claim.key, encodeClaim(claim.node, claim.id, claim.nextSeq));
      }
      for (const [filter, { qos }] of subscriptions) {
        if (qos === 0 || isShared(filter)) continue;
        for (const peer of peers) peer?.assumeRow(filter, rowValue(2, true));
      }
    }
  }

  /** Is it not known yet whether another node has adopted that session from an earlier process of this one? */
  isDoubted(session: Session): boolean {
    return this.doubted.get(session.clientId)?.session === session;
  }

  get isSettled(): boolean {
    return this.doubted.size === 0;
  }

  /** Resolves when it is known of all sessions here whether they were adopted: until then nothing may come for them. */
  async settled(): Promise<void> {
    while (!this.isSettled) await sleep(this.parts.clock, settledPollMs);
  }

  /** Is there anything to wait for before a claim is granted? */
  get isNeeded(): boolean {
    return !this.isRunning || this.dead.size > 0 || this.anyUnsure;
  }

  /**
   * A claim of that client id is about to be granted here: its session comes first, if a dead node has it. Resolves with whether it
   * is known where its session is, if it has one.
   */
  async beforeGrant(clientId: string): Promise<boolean> {
    const { clock } = this.parts;
    const endMs = clock.monotonicMs() + connectMs;
    // Whoever did not answer because his link broke is seen as gone at the end of this turn.
    await Promise.resolve();
    if (!this.isNeeded) return true;
    let wanted = await this.place(clientId);
    let wasThere = false;
    if (wanted !== null) this.counters.waited++;
    while (wanted !== null && clock.monotonicMs() < endMs) {
      wasThere ||= wanted.meta !== null;
      await sleep(clock, grantPollMs);
      wanted = await this.place(clientId);
    }
    if (wanted === null) return !wasThere || (await this.hasCome(clientId));
    this.counters.waitedInVain++;
    const found = wanted.meta === null ? await this.placeAtUnsure(clientId) : wanted;
    if (found === null) return true;
    if (found.meta === null) return false;
    this.tellHome(clientId, found.node, found.meta);
    return true;
  }

  /**
   * A session that was waited for is where its client can reach it. False: it has ended at its node, which lives, cut off from here:
   * its client was there meanwhile, and it takes a moment until this node hears that he does not wait here any more.
   */
  private async hasCome(clientId: string): Promise<boolean> {
    if (this.parts.sessions.get(clientId) !== undefined || this.isElsewhere(clientId)) return true;
    await sleep(this.parts.clock, againMs);
    return false;
  }

  /** Members that could not be asked all the time: what they have stored says what they may have. */
  private async placeAtUnsure(clientId: string): Promise<MaybeThere | null> {
    const { cluster, shared } = this.parts;
    if (this.tries.has(clientId) || this.readdressing.get(clientId) || !this.isRunning) {
      return nowhere;
    }
    for (const { name: node } of cluster.members.others()) {
      if (cluster.state(node) === "up") continue;
      const meta = await readMeta(shared.look(node), clientId);
      if (meta === "unknown") return nowhere;
      if (meta !== null) return { node, meta };
    }
    return null;
  }

  /** A node that may have the session and does not say so itself; null: there is none. */
  private async place(clientId: string): Promise<MaybeThere | null> {
    const { sessions } = this.parts;
    if (this.tries.has(clientId) || this.readdressing.get(clientId)) return nowhere;
    if (sessions.get(clientId) !== undefined || this.isElsewhere(clientId)) return null;
    if (!this.isRunning || this.anyUnsure) return nowhere;
    for (const dead of [...this.dead.values()]) {
      const meta = await dead.metaOf(clientId);
      if (meta === "unknown") return nowhere;
      if (meta === null) continue;
      dead.want(clientId);
      return { node: dead.name.node, meta };
    }
    return null;
  }

  /** It is known to be at a node that is up. */
  private isElsewhere(clientId: string): boolean {
    const { cluster } = this.parts;
    const places = cluster.directory.home.lookup(clientId)?.sessions ?? [];
    return places.some(({ node }) => cluster.state(node) === "up");
  }

  /** What a node has that joins, or cannot be asked and is not down, is not known. */
  private get anyUnsure(): boolean {
    const { cluster } = this.parts;
    return cluster.members.others().some(({ name }) => {
      const state = cluster.state(name);
      return state === "joining" || state === "suspect";
    });
  }

  private look(): void {
    if (!this.isRunning) return;
    const { cluster } = this.parts;
    const others = cluster.members.others();
    for (const { name, id: dataId, incarnation } of others) {
      if (cluster.state(name) !== "down" || this.dead.has(name)) continue;
      const dead = new DeadNode(this, { node: name, dataId, incarnation });
      this.dead.set(name, dead);
      void dead.run();
    }
    for (const [name, dead] of this.dead) {
      if (cluster.state(name) === "down" && others.some((one) => one.name === name)) continue;
      this.dead.delete(name);
      dead.end();
    }
  }

  /** The session stays here: its claimant has not taken it. */
  private keep(session: Session, { key }: Claim, highest: number): void {
    const { sessions } = this.parts;
    session.journal?.note(key, null);
    session.epoch = Math.max(session.epoch, highest);
    session.journal?.noteMeta();
    for (const [, message] of session.openPublishes()) {
      if (message !== null) this.publishAgain(session, message);
    }
    sessions.rearm(session);
  }

  /** Whoever gave the session up may have published it already. */
  private publishAgain(session: Session, message: Message): void {
    message.origin = originOf(againOrigin, message.origin?.incarnation ?? 0);
    message.sink = { onAccepted: (accepted) => session.settleQos2(accepted) };
    this.parts.router.publish(message);
    if (message.pending === 0) message.sink.onAccepted(message);
  }

  /** Its session is where it was: whoever is granted the claim must know. */
  private tellHome(
    clientId: string,
    node: string,
    { user, epoch }: { readonly user: string; readonly epoch: number },
  ): void {
    const entry = { clientId, user, connection: null, session: epoch };
    this.parts.cluster.directory.home.holds(node, { clientId, epoch, entry });
  }

  private outcome(from: string, clientId: string, id: number): MoveOutcome | null {
    const pending = this.readdressing.get(clientId);
    if (pending?.formers.some((one) => one.node === from && one.id === id)) {
      return pending.isWhole ? "moved" : "open";
    }
    const one = this.tries.get(clientId);
    return one?.id === id && !one.abort() ? "open" : null;
  }

  private answer(peer: string, question: Question, reply: (answer: Answer) => void): void {
    const { moves } = this.parts;
    switch (question.verb) {
      case "outbox":
        reply(this.readdressing.answerOutbox(peer, question));
        return;
      case "taken":
        this.readdressing.noteTaken(question.node, question.numbers);
        reply({ kind: "taken" });
        return;
      case "settled":
        moves.onSettled(question.clientId, question.by, question.id, () => {
          reply({ kind: "settled" });
        });
        return;
      case "outcome": {
        const { from, clientId, id } = question;
        reply({ kind: "outcome", outcome: moves.outcomeOf(from, clientId, id) });
        return;
      }
    }
  }
}
