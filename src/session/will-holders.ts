/**
 * The wills of clients at two further nodes, so that they are published when the node of the session dies: by the
 * home of the client id, after the other holder has noted it. A will is published once: a node lets go of it at its
 * holders before it publishes it itself, and one that comes back asks whether others have done so. What a silent
 * node left is published by the larger side of a cluster that is cut in two (cluster/sides.ts); the smaller one waits.
 * What is held is in memory: the session's node has it in its store.
 */
import { home } from "../cluster/rendezvous.js";
import { sleep } from "../lib/clock.js";
import { batch, OwnWills } from "./own-wills.js";
import {
  type Begun,
  decodeAnswer,
  decodeQuestion,
  encodeAnswer,
  type Question,
} from "./will-wire.js";
import type { WillHost, WillNetwork } from "./will-parts.js";
import { Asking, type Held, type Inherited, type Returned, setBounded } from "./will-entries.js";
import type { WillOf } from "./will-entries.js";
import { WillNotes } from "./will-notes.js";

export const willService = "wills";

/** Most that is held for others; what is more is with its own node alone. */
const heldMax = 1_000_000;
const heldBytesMax = 256 * 1024 * 1024;
/** Until a will that was left to its owner is looked at again. */
const askAgainMs = 500;
/** Until a holder that did not answer is told again. */
const askSoonMs = 100;

export class WillHolders {
  readonly counters = {
    /** Published for nodes that were dead. */
    inherited: 0,
    /** Of clients that this node closed for its own sake: given to others, which wait for them to come back. */
    entrusted: 0,
    /** Not published here, as others had. */
    settledElsewhere: 0,
    /** Not taken, as too much is held. */
    refused: 0,
    /** Questions that a holder did not answer in time. */
    unanswered: 0,
  };
  private readonly asking: Asking;
  private readonly own: OwnWills;
  private readonly held = new Map<string, Held>();
  private heldBytes = 0;
  private readonly inherited = new Map<string, Inherited>();
  private readonly notes: WillNotes;
  /** By client id: up to which epoch the owner has been told that it may publish. */
  private readonly returned = new Map<string, Returned>();
  /** By client id: wills that were entrusted to others, where claims for that client id may still come here. */
  private readonly given = new Map<string, { readonly epoch: number; readonly dueMs: number }>();
  private live: readonly string[];
  /** The links over which peers have heard of our wills. */
  private readonly links = new Map<string, object>();

  constructor(
    private readonly network: WillNetwork,
    private readonly host: WillHost,
  ) {
    this.live = [network.self];
    const { counters } = this;
    this.notes = new WillNotes(network.self);
    this.asking = new Asking(network, () => void counters.unanswered++);
    this.own = new OwnWills({
      ...{ network, asking: this.asking },
      notes: this.notes,
      onRefused: () => void counters.settledElsewhere++,
    });
  }

  /** Wills that are held for other nodes. */
  get size(): number {
    return this.held.size + this.inherited.size;
  }

  /** A session here has this will. `done` when its holders have it, or cannot be had. */
  hold(clientId: string, epoch: number, will: Uint8Array, done: () => void): void {
    // The session has come from the node for which this one held it.
    if ((this.held.get(clientId)?.epoch ?? epoch) < epoch) this.drop(clientId);
    this.voidBefore(clientId, epoch);
    this.own.hold(clientId, epoch, will, done);
  }

  /** A session here has its will no more. */
  release(clientId: string, epoch: number): void {
    this.own.release(clientId, epoch);
  }

  /**
   * The will of a session here is due. `done` gets true when no other node will publish it, and false when one
   * has; possibly before this returns. On the smaller side of a cluster that is cut it waits for the rest.
   */
  due(clientId: string, epoch: number, done: (isOurs: boolean) => void): void {
    this.own.due(clientId, epoch, done);
  }

  /**
   * A client was closed for this node's sake: another node keeps its will until that is due or the client is back, whatever
   * becomes of this node; with `here` this one, where there is no other. `done` when that node has it (true), or none does.
   */
  entrust(
    clientId: string,
    epoch: number,
    will: Uint8Array,
    here: boolean,
    done: (isHeld: boolean) => void,
  ): void {
    const owner = this.network.self;
    const incarnation = this.network.incarnation();
    const others = this.live.filter((name) => name !== owner);
    if (others.length === 0) {
      if (here) this.takeOver(clientId, { owner, incarnation, epoch, will }, 0, true);
      done(here);
      return;
    }
    const dueMs = this.nowMs + this.host.delayMs(will);
    setBounded(this.given, clientId, { epoch, dueMs });
    this.counters.entrusted++;
    void this.giveTo(home(clientId, others), clientId, { owner, incarnation, epoch, will }).then(
      (isHeld) => {
        if (!isHeld) this.given.delete(clientId);
        done(isHeld);
      },
    );
  }

  private async giveTo(
    to: string,
    clientId: string,
    { owner, incarnation, epoch, will }: Held,
    agoMs = 0,
    entrusted = true,
  ): Promise<boolean> {
    const question: Question = {
      ...{ kind: "inherit", owner, incarnation, agoMs, entrusted },
      wills: [{ clientId, epoch, will }],
    };
    return (await this.asking.one(to, question)) !== null;
  }

  /** The client has come back, with another home maybe: a will that waits is void. */
  private voidBefore(clientId: string, epoch: number): void {
    const entry = this.inherited.get(clientId);
    if (entry === undefined || entry.epoch >= epoch || entry.publishing !== null) return;
    this.take(clientId, entry);
    void this.note(entry.owner, clientId, entry.epoch);
  }

  /** What waits here goes to whoever is asked for the client id now. */
  private sendOn(clientId: string, entry: Inherited): void {
    const { owner, incarnation, publishing, entrusted } = entry;
    // The process that gave it away knows where it is, should it be asked.
    const isThere = this.network.incarnationOf(owner) === incarnation;
    const to = home(clientId, isThere ? this.live.filter((name) => name !== owner) : this.live);
    // What was not entrusted the new process of its owner asks for.
    if (publishing !== null || to === this.network.self || (to === owner && !entrusted)) return;
    const leftMs = entry.dueMs - this.nowMs;
    const agoMs = entrusted ? 0 : Math.max(0, this.host.delayMs(entry.will) - leftMs);
    void this.giveTo(to, clientId, entry, agoMs, entrusted).then((isHeld) => {
      if (isHeld && entry.publishing === null) this.take(clientId, entry);
    });
  }

  /** Which of the wills that an earlier process of this node left have others settled? At start, once linked. */
  settledOf(wills: readonly WillOf[]): Promise<ReadonlySet<string>> {
    return this.own.settledOf(wills);
  }

  /** Has `beforeGrant` something to do for this client id? */
  isOwed(clientId: string): boolean {
    return this.inherited.has(clientId) || this.given.has(clientId);
  }

  /** As home, before a claim is granted: what a node that is down left is published or void first. */
  beforeGrant(clientId: string, done: () => void): void {
    const given = this.given.get(clientId);
    this.given.delete(clientId);
    if (given !== undefined && given.dueMs > this.nowMs) {
      // Whoever has it does not publish it: the client is back.
      const wills = [{ clientId, epoch: given.epoch }];
      void this.asking
        .all({ kind: "settled", owner: this.network.self, incarnation: 0, wills })
        .then(() => done());
      return;
    }
    const entry = this.inherited.get(clientId);
    if (entry === undefined) done();
    else if (entry.publishing !== null) entry.publishing.push(done);
    else if (entry.dueMs <= this.nowMs && this.mayAct(entry)) {
      this.publish(clientId, entry, done);
    } else {
      // The client is back before its delay was over, or while nobody may speak for its node.
      this.take(clientId, entry);
      void this.note(entry.owner, clientId, entry.epoch).then(done);
    }
  }

  /** A question of a peer; returns the answer, null when there is none. */
  onQuestion(peer: string, body: Uint8Array): Uint8Array | null | Promise<Uint8Array | null> {
    const question = decodeQuestion(body);
    if (question === null) return null;
    switch (question.kind) {
      case "hold":
        this.onHold(peer, question);
        return encodeAnswer([]);
      case "inherit":
        this.onInherit(question);
        return encodeAnswer([]);
      case "settled": {
        const { owner, incarnation, wills } = question;
        const isHere = incarnation !== 0 && this.network.incarnationOf(owner) === incarnation;
        if (isHere) return encodeAnswer(wills.map(({ clientId }) => clientId));
        if (incarnation !== 0) return encodeAnswer([], this.onBegin(peer, question));
        for (const { clientId, epoch } of wills) this.onSettled(owner, clientId, epoch);
        return encodeAnswer([]);
      }
      case "tell":
        return this.tellSettled(peer).then((isTold) => (isTold ? encodeAnswer([]) : null));
      case "ask":
        return this.onAsk(peer, question.wills);
    }
  }

  /** Must be called whenever the state of a member has changed. */
  onMembersChanged(): void {
    const before = this.live;
    this.live = [...this.network.live()];
    for (const name of before) if (!this.live.includes(name)) this.bequeath(name);
    // A process that was silent and is certainly dead now.
    for (const [clientId, entry] of [...this.inherited]) {
      if (!entry.entrusted) this.proceed(clientId, entry);
      this.sendOn(clientId, entry);
    }
    const came = this.live.filter((name) => this.isNewLink(name));
    const isSame =
      before.length === this.live.length && before.every((name, i) => name === this.live[i]);
    this.own.onMembersChanged(came, isSame);
    for (const name of came) void this.tellSettled(name);
  }

  /** What was said on the link before may be lost. */
  private isNewLink(name: string): boolean {
    const link = this.network.linkOf(name);
    if (link === null || this.links.get(name) === link) return false;
    this.links.set(name, link);
    return true;
  }

  private get nowMs(): number {
    return this.network.clock.monotonicMs();
  }

  private onHold(peer: string, question: Question & { kind: "hold" }): void {
    const { incarnation, all, lasting, wills } = question;
    if (all) {
      for (const [clientId, { owner }] of this.held) if (owner === peer) this.drop(clientId);
      for (const [clientId, entry] of this.inherited) {
        // It was silent, and lives: it speaks for itself again.
        const isItsOwn = entry.owner === peer && entry.incarnation === incarnation;
        if (isItsOwn && !entry.entrusted) this.take(clientId, entry);
      }
    }
    for (const { clientId, epoch, will } of wills) {
      this.network.observe(epoch);
      if (will !== null) this.voidBefore(clientId, epoch);
      const before = this.held.get(clientId);
      if (before !== undefined && before.epoch > epoch) continue;
      if (before !== undefined && (will !== null || before.owner === peer)) this.drop(clientId);
      if (will === null && lasting) {
        setBounded(this.returned, clientId, { epoch, before: Number.POSITIVE_INFINITY });
      } else if (will !== null && this.returned.get(clientId)?.epoch === epoch) {
        this.returned.set(clientId, { epoch, before: incarnation });
      }
      if (will !== null) this.keep(clientId, { owner: peer, incarnation, epoch, will });
    }
  }

  private keep(clientId: string, entry: Held): void {
    const bytes = entry.will.length;
    if (this.held.size >= heldMax || this.heldBytes + bytes > heldBytesMax) {
      this.counters.refused++;
      return;
    }
    this.heldBytes += bytes;
    // Not a view of all that came with it.
    this.held.set(clientId, { ...entry, will: Uint8Array.from(entry.will) });
  }

  private drop(clientId: string): void {
    const entry = this.held.get(clientId);
    if (entry === undefined) return;
    this.held.delete(clientId);
    this.heldBytes -= entry.will.length;
  }

  /** A node is dead or silent: what is held of it goes to the homes of the client ids. */
  private bequeath(owner: string): void {
    const perHome = new Map<string, { clientId: string; epoch: number; will: Uint8Array }[]>();
    let incarnation = 0;
    for (const [clientId, entry] of this.held) {
      if (entry.owner !== owner) continue;
      this.drop(clientId);
      // It goes on alone, with its clients.
      if (!this.network.isMember(owner)) continue;
      ({ incarnation } = entry);
      const at = home(clientId, this.live);
      if (at === this.network.self) this.takeOver(clientId, entry, 0, false);
      else {
        const wills = perHome.get(at) ?? [];
        wills.push({ clientId, epoch: entry.epoch, will: entry.will });
        perHome.set(at, wills);
      }
    }
    for (const [at, wills] of perHome) {
      for (let first = 0; first < wills.length; first += batch) {
        const some = wills.slice(first, first + batch);
        void this.asking.one(at, {
          ...({ kind: "inherit", owner, incarnation, agoMs: 0 } as const),
          ...{ entrusted: false, wills: some },
        });
      }
    }
  }

  private onInherit(question: Question & { kind: "inherit" }): void {
    const { owner, incarnation, agoMs, wills, entrusted } = question;
    for (const { clientId, epoch, will } of wills) {
      this.network.observe(epoch);
      const entry = { owner, incarnation, epoch, will: Uint8Array.from(will) };
      this.takeOver(clientId, entry, agoMs, entrusted);
    }
  }

  private takeOver(clientId: string, entry: Held, agoMs: number, entrusted: boolean): void {
    const known = this.inherited.get(clientId);
    if (this.notes.has(clientId, entry.epoch)) return;
    if (!entrusted && this.isReturned(clientId, entry.epoch, entry.incarnation)) return;
    if (known !== undefined && known.epoch >= entry.epoch) return;
    if (known !== undefined) this.take(clientId, known);
    const dueMs = this.nowMs + Math.max(0, this.host.delayMs(entry.will) - agoMs);
    const taken: Inherited = { ...entry, dueMs, entrusted, timer: undefined, publishing: null };
    this.inherited.set(clientId, taken);
    this.proceed(clientId, taken);
  }

  /** Was its owner told, by this node, that nobody else would publish it? */
  private isReturned(clientId: string, epoch: number, incarnation: number): boolean {
    const returned = this.returned.get(clientId);
    return returned !== undefined && returned.epoch >= epoch && incarnation < returned.before;
  }

  /** Publishes what is due and ours to publish; else it waits for its time, or for another view of the members. */
  private proceed(clientId: string, entry: Inherited): void {
    if (entry.publishing !== null || entry.timer !== undefined) return;
    const waitMs = entry.dueMs - this.nowMs;
    if (waitMs > 0) {
      entry.timer = this.network.clock.setTimer(waitMs, () => {
        entry.timer = undefined;
        this.proceed(clientId, entry);
      });
    } else if (this.mayAct(entry)) this.publish(clientId, entry, nobody);
  }

  /**
   * Is it certain that its owner will not publish it, or is that ours to say? Never on the smaller side of a cluster that is cut: the
   * same process may be silent for one side and certainly dead for the other.
   */
  private mayAct({ owner, incarnation, entrusted }: Inherited): boolean {
    const { network } = this;
    if (entrusted) return true;
    if (!network.isLargerSide()) return false;
    // One that is there again speaks for itself in a moment.
    return !this.live.includes(owner) || network.incarnationOf(owner) > incarnation;
  }

  private publish(clientId: string, entry: Inherited, done: () => void): void {
    const waiting = [done];
    entry.publishing = waiting;
    void this.noteFirst(clientId, entry).then((isOurs) => {
      if (!isOurs) {
        this.leaveToOwner(clientId, entry, waiting);
        return;
      }
      this.counters.inherited++;
      this.host.inherit(entry.will, () => {
        this.settle(clientId, entry);
        if (this.inherited.get(clientId) === entry) this.take(clientId, entry);
        for (const next of waiting) next();
      });
    });
  }

  /** Resolves with true when it is noted at both holders that it is published. */
  private async noteFirst(clientId: string, entry: Inherited): Promise<boolean> {
    // One that has given it away is not asked.
    const process = entry.entrusted ? 0 : entry.incarnation;
    for (;;) {
      const outcome = await this.note(entry.owner, clientId, entry.epoch, process);
      if (outcome === "noted" || entry.entrusted) return true;
      this.notes.giveUp(clientId, entry.epoch);
      if (outcome === "left to it") this.take(clientId, entry);
      if (outcome !== "not known") return false;
      // A holder that does not answer may be on the other side of a cut that nobody has noticed yet.
      await sleep(this.network.clock, askSoonMs);
      if (this.inherited.get(clientId) !== entry || !this.mayAct(entry)) return false;
    }
  }

  /** The other holder hears its owner: it is silent for this node alone, and will be there in a moment. */
  private leaveToOwner(clientId: string, entry: Inherited, waiting: readonly (() => void)[]): void {
    entry.publishing = null;
    this.network.clock.setTimer(askAgainMs, () => {
      if (this.inherited.get(clientId) === entry) this.proceed(clientId, entry);
    });
    // Nobody may speak for it now, and its client is back.
    const isVoid = this.inherited.get(clientId) === entry && !this.mayAct(entry);
    for (const next of waiting) {
      if (isVoid && next !== nobody) this.beforeGrant(clientId, next);
      else next();
    }
  }

  /**
   * Notes, here and at the other holder, and while a member is silent at all that are not, that nobody may publish it any more. With an incarnation, that of its owner, this node
   * is about to; it may turn out that the other one hears the owner, or has left the will to it.
   */
  private async note(
    owner: string,
    clientId: string,
    epoch: number,
    incarnation = 0,
  ): Promise<"noted" | "its owner is heard" | "left to it" | "not known"> {
    if (incarnation === 0) this.notes.settle(owner, clientId, epoch);
    else this.notes.begin(owner, clientId, epoch, this.network.self);
    const question: Question = {
      kind: "settled",
      owner,
      incarnation,
      wills: [{ clientId, epoch }],
    };
    const answers = this.network.isWhole()
      ? await this.asking.some(this.own.holdersOf(clientId), question)
      : await this.asking.all(question);
    let outcome: "noted" | "not known" = "noted";
    for (const answer of answers.values()) {
      if (answer === null) outcome = "not known";
      else if (decodeAnswer(answer).left.length > 0) return "left to it";
      else if (decodeAnswer(answer).settled.length > 0) return "its owner is heard";
    }
    return outcome;
  }

  /** It is published, as the other holder and its owner hear. */
  private settle(clientId: string, { owner, epoch }: Inherited): void {
    this.notes.settle(owner, clientId, epoch);
    const wills = [{ clientId, epoch }];
    const names = new Set(this.own.holdersOf(clientId));
    if (this.live.includes(owner)) names.add(owner);
    for (const name of names) {
      void this.asking.one(name, { kind: "settled", owner, incarnation: 0, wills });
    }
  }

  private take(clientId: string, entry: Inherited): void {
    this.network.clock.clearTimer(entry.timer);
    this.inherited.delete(clientId);
  }

  /** Another node is about to publish these. Returns those that are not for it to publish. */
  private onBegin(peer: string, { owner, incarnation, wills }: Question & { kind: "settled" }) {
    const left: string[] = [];
    for (const { clientId, epoch } of wills) {
      const isNoted =
        this.notes.has(clientId, epoch) && this.notes.begunBy(clientId, epoch) !== peer;
      if (isNoted || this.isReturned(clientId, epoch, incarnation)) left.push(clientId);
      else {
        this.notes.begin(owner, clientId, epoch, peer);
        this.forget(clientId, epoch);
      }
    }
    return left;
  }

  /** Another node has settled a will: of this very node, or of one for which this one may have held it. */
  private onSettled(owner: string, clientId: string, epoch: number): void {
    this.network.observe(epoch);
    this.notes.settle(owner, clientId, epoch);
    this.forget(clientId, epoch);
    if (owner !== this.network.self) return;
    this.own.forget(clientId, epoch);
    this.host.onSettled(clientId, epoch);
  }

  /** It is not for this node to publish for its owner. */
  private forget(clientId: string, epoch: number): void {
    const held = this.held.get(clientId);
    if (held !== undefined && held.epoch <= epoch) this.drop(clientId);
    const inherited = this.inherited.get(clientId);
    if (inherited !== undefined && inherited.epoch <= epoch && inherited.publishing === null) {
      this.take(clientId, inherited);
    }
  }

  /** This will is taken care of here: it was found published at the start, or came with a session under another epoch. */
  isHere(clientId: string, epoch: number): void {
    this.notes.settle("", clientId, epoch);
  }

  /** The owner asks before it publishes: what is not settled, and nobody is about to publish, is its own from now on. */
  private onAsk(peer: string, wills: readonly WillOf[]): Uint8Array {
    const settled: string[] = [];
    const begun: Begun[] = [];
    for (const { clientId, epoch, waits = false } of wills) {
      const by = this.notes.begunBy(clientId, epoch);
      if (by !== null) begun.push({ clientId, by });
      if (waits && by === null && this.host.isBack(clientId, epoch)) {
        this.notes.settle(peer, clientId, epoch);
      }
      if (this.notes.isSettled(clientId, epoch)) settled.push(clientId);
      if (by === this.network.self || this.notes.isSettled(clientId, epoch)) continue;
      const inherited = this.inherited.get(clientId);
      setBounded(this.returned, clientId, { epoch, before: Number.POSITIVE_INFINITY });
      if (inherited?.owner === peer && inherited.epoch <= epoch) this.take(clientId, inherited);
    }
    return encodeAnswer(settled, [], begun);
  }

  /** A node is back: it hears which of its wills were settled meanwhile. Resolves with whether it has. */
  private async tellSettled(owner: string): Promise<boolean> {
    const wills = this.notes.of(owner);
    const answers: Promise<Uint8Array | null>[] = [];
    for (let first = 0; first < wills.length; first += batch) {
      const some = wills.slice(first, first + batch);
      const question: Question = { kind: "settled", owner, incarnation: 0, wills: some };
      answers.push(this.asking.one(owner, question));
    }
    return !(await Promise.all(answers)).includes(null);
  }
}

/** Waits for a will in nobody's name. */
const nobody = (): void => undefined;
