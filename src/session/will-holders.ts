/**
 * The wills of clients at two further nodes, so that they are published when the node of the session dies: by the
 * home of the client id, after the other holder has noted it. A will is published once: a node lets go of it at its
 * holders before it publishes it itself, and one that comes back asks whether others have done so. What a silent
 * node left is published by the larger side of a cluster that is cut in two (cluster/sides.ts); the smaller one waits.
 * What is held is in memory: the session's node has it in its store.
 */
import { home, homes } from "../cluster/rendezvous.js";
import { decodeAnswer, decodeQuestion, encodeAnswer, type Question } from "./will-wire.js";
import type { WillHost, WillNetwork } from "./will-parts.js";
import { askInTime, type Due, type Held, type Inherited } from "./will-entries.js";
import { type Own, type Returned, setBounded } from "./will-entries.js";

export const willService = "wills";

/** Wills of one question. */
const batch = 500;
/** Most that is held for others; what is more is with its own node alone. */
const heldMax = 1_000_000;
const heldBytesMax = 256 * 1024 * 1024;
/** Until nodes that did not answer are asked again. */
const askAgainMs = 500;

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
  private readonly own = new Map<string, Own>();
  private readonly held = new Map<string, Held>();
  private heldBytes = 0;
  private readonly inherited = new Map<string, Inherited>();
  /** By client id: up to which epoch of that owner's connections wills are settled. */
  private readonly settled = new Map<string, { readonly owner: string; readonly epoch: number }>();
  /** By client id: up to which epoch the owner has been told that it may publish. */
  private readonly returned = new Map<string, Returned>();
  /** By client id: wills that were entrusted to others, where claims for that client id may still come here. */
  private readonly given = new Map<string, { readonly epoch: number; readonly dueMs: number }>();
  private waiting: Due[] = [];
  private live: readonly string[];
  /** The links over which peers have heard of our wills. */
  private readonly links = new Map<string, object>();

  constructor(
    private readonly network: WillNetwork,
    private readonly host: WillHost,
  ) {
    this.live = [network.self];
  }

  /** Wills that are held for other nodes. */
  get size(): number {
    return this.held.size + this.inherited.size;
  }

  /** A session here has this will. `done` when its holders have it, or cannot be had. */
  hold(clientId: string, epoch: number, will: Uint8Array, done: () => void): void {
    // The session has come from the node for which this one held it.
    if ((this.held.get(clientId)?.epoch ?? epoch) < epoch) this.drop(clientId);
    const holders = this.holdersOf(clientId);
    this.own.set(clientId, { epoch, will, holders });
    this.tell(holders, clientId, epoch, will, done);
  }

  /** A session here has its will no more. */
  release(clientId: string, epoch: number): void {
    this.letGo(clientId, epoch, () => undefined);
  }

  /**
   * The will of a session here is due. `done` gets true when no other node will publish it, and false when one
   * has; possibly before this returns. On the smaller side of a cluster that is cut it waits for the rest.
   */
  due(clientId: string, epoch: number, done: (isOurs: boolean) => void): void {
    if (this.isSettled(clientId, epoch)) this.refuse(done);
    else if (this.network.isLargerSide()) this.claim({ clientId, epoch, done, wasSmaller: false });
    else this.waiting.push({ clientId, epoch, done, wasSmaller: true });
  }

  /** A will of our own is published when its holders have let go of it. One that does not say so may be on another side. */
  private claim(due: Due): void {
    this.letGo(due.clientId, due.epoch, (isSure) => {
      if (isSure) due.done(true);
      else this.wait([due]);
    });
  }

  private wait(due: readonly Due[]): void {
    this.waiting.push(...due);
    this.network.clock.setTimer(askAgainMs, () => {
      if (this.waiting.length > 0 && this.network.isLargerSide()) void this.askForWaiting();
    });
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

  private async giveTo(to: string, clientId: string, held: Held): Promise<boolean> {
    const { owner, incarnation, epoch, will } = held;
    const question: Question = {
      ...{ kind: "inherit", owner, incarnation, agoMs: 0 },
      ...{ entrusted: true, wills: [{ clientId, epoch, will }] },
    };
    return (await this.question(to, question)) !== null;
  }

  /** What was entrusted to this node goes to whoever is asked for the client id now. */
  private sendOn(clientId: string, entry: Inherited): void {
    const { owner, incarnation, publishing } = entry;
    // The process that gave it away knows where it is, should it be asked.
    const isThere = this.network.incarnationOf(owner) === incarnation;
    const to = home(clientId, isThere ? this.live.filter((name) => name !== owner) : this.live);
    if (publishing !== null || to === this.network.self) return;
    void this.giveTo(to, clientId, entry).then((isHeld) => {
      if (isHeld && entry.publishing === null) this.take(clientId, entry);
    });
  }

  /** Which of the wills that an earlier process of this node left have others settled? At start, once linked. */
  async settledOf(
    wills: readonly { readonly clientId: string; readonly epoch: number }[],
  ): Promise<ReadonlySet<string>> {
    return (await this.askSettled(wills)).settled;
  }

  private async askSettled(
    wills: readonly { readonly clientId: string; readonly epoch: number }[],
  ) {
    const settled = new Set<string>();
    let isSure = true;
    for (let first = 0; first < wills.length; first += batch) {
      const some = wills.slice(first, first + batch);
      const question: Question = {
        kind: "ask",
        wills: some.map(({ clientId, epoch }) => ({ clientId, epoch })),
      };
      for (const answer of await this.askAll(question)) {
        if (answer === null) isSure = false;
        else for (const clientId of decodeAnswer(answer)) settled.add(clientId);
      }
    }
    for (const { clientId, epoch } of wills) {
      if (this.isSettled(clientId, epoch)) settled.add(clientId);
    }
    return { settled, isSure };
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
      void this.askAll({ kind: "settled", owner: this.network.self, incarnation: 0, wills }).then(
        () => done(),
      );
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

  /** A question of a peer; returns the answer. */
  onQuestion(peer: string, body: Uint8Array): Uint8Array | null {
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
        for (const { clientId, epoch } of wills) this.onSettled(owner, clientId, epoch);
        return encodeAnswer([]);
      }
      case "ask":
        return encodeAnswer(this.onAsk(peer, question.wills));
    }
  }

  /** Must be called whenever the state of a member has changed. */
  onMembersChanged(): void {
    const before = this.live;
    this.live = [...this.network.live()];
    for (const name of before) if (!this.live.includes(name)) this.bequeath(name);
    // A process that was silent and is certainly dead now.
    for (const [clientId, entry] of [...this.inherited]) {
      if (entry.entrusted) this.sendOn(clientId, entry);
      else this.proceed(clientId, entry);
    }
    const came = this.live.filter((name) => this.isNewLink(name));
    const isSame =
      before.length === this.live.length && before.every((name, i) => name === this.live[i]);
    if (came.length > 0 || !isSame) this.rearrange(came);
    for (const name of came) this.tellSettled(name);
    if (this.waiting.length === 0) return;
    if (this.network.isLargerSide()) void this.askForWaiting();
    else for (const due of this.waiting) due.wasSmaller = true;
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

  private holdersOf(clientId: string): readonly string[] {
    if (this.live.length === 1) return none;
    return homes(clientId, this.live, 2).filter((name) => name !== this.network.self);
  }

  /** Forgets an own will, at its holders first. */
  private letGo(clientId: string, epoch: number, done: (isSure: boolean) => void): void {
    const own = this.own.get(clientId);
    if (own === undefined || own.epoch > epoch) {
      done(true);
      return;
    }
    this.own.delete(clientId);
    this.tell(own.holders, clientId, own.epoch, null, done);
  }

  private tell(
    holders: readonly string[],
    clientId: string,
    epoch: number,
    will: Uint8Array | null,
    done: (isSure: boolean) => void,
  ): void {
    if (holders.length === 0) {
      done(true);
      return;
    }
    const incarnation = this.network.incarnation();
    const wills = [{ clientId, epoch, will }];
    const question: Question = { kind: "hold", incarnation, all: false, wills };
    const answers = holders.map((name) => this.question(name, question));
    void Promise.all(answers).then((given) => done(!given.includes(null)));
  }

  private question(node: string, question: Question): Promise<Uint8Array | null> {
    return askInTime(this.network, node, question, () => void this.counters.unanswered++);
  }

  private askAll(question: Question): Promise<(Uint8Array | null)[]> {
    const others = this.network.live().filter((name) => name !== this.network.self);
    return Promise.all(others.map((name) => this.question(name, question)));
  }

  private onHold(peer: string, { incarnation, all, wills }: Question & { kind: "hold" }): void {
    if (all) {
      for (const [clientId, { owner }] of this.held) if (owner === peer) this.drop(clientId);
      for (const [clientId, entry] of this.inherited) {
        // It was silent, and lives: it speaks for itself again.
        const isItsOwn = entry.owner === peer && entry.incarnation === incarnation;
        if (isItsOwn && !entry.entrusted) this.take(clientId, entry);
      }
    }
    for (const { clientId, epoch, will } of wills) {
      const before = this.held.get(clientId);
      if (before !== undefined && before.epoch > epoch) continue;
      if (before !== undefined && (will !== null || before.owner === peer)) this.drop(clientId);
      const returned = this.returned.get(clientId);
      if (will !== null && returned !== undefined && returned.epoch <= epoch) {
        this.returned.set(clientId, { epoch: returned.epoch, before: incarnation });
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
        void this.question(at, {
          ...({ kind: "inherit", owner, incarnation, agoMs: 0 } as const),
          ...{ entrusted: false, wills: some },
        });
      }
    }
  }

  private onInherit(question: Question & { kind: "inherit" }): void {
    const { owner, incarnation, agoMs, wills, entrusted } = question;
    for (const { clientId, epoch, will } of wills) {
      const entry = { owner, incarnation, epoch, will: Uint8Array.from(will) };
      this.takeOver(clientId, entry, agoMs, entrusted);
    }
  }

  private takeOver(clientId: string, entry: Held, agoMs: number, entrusted: boolean): void {
    const known = this.inherited.get(clientId);
    if (this.isSettled(clientId, entry.epoch)) return;
    // Its owner is back, and was told that nobody else would.
    const returned = this.returned.get(clientId);
    const isReturned = returned !== undefined && returned.epoch >= entry.epoch;
    if (!entrusted && isReturned && entry.incarnation < returned.before) return;
    if (known !== undefined && known.epoch >= entry.epoch) return;
    if (known !== undefined) this.take(clientId, known);
    const dueMs = this.nowMs + Math.max(0, this.host.delayMs(entry.will) - agoMs);
    const taken: Inherited = { ...entry, dueMs, entrusted, timer: undefined, publishing: null };
    this.inherited.set(clientId, taken);
    this.proceed(clientId, taken);
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
    } else if (this.mayAct(entry)) this.publish(clientId, entry, () => undefined);
  }

  /** Is it certain that its owner will not publish it, or is that ours to say? */
  private mayAct({ owner, incarnation, entrusted }: Inherited): boolean {
    const { network } = this;
    if (entrusted) return true;
    if (network.isGone(owner) || network.incarnationOf(owner) > incarnation) return true;
    // One that is there again speaks for itself in a moment.
    return !this.live.includes(owner) && network.isLargerSide();
  }

  private publish(clientId: string, entry: Inherited, done: () => void): void {
    const waiting = [done];
    entry.publishing = waiting;
    // One that has given it away is not asked.
    const process = entry.entrusted ? 0 : entry.incarnation;
    void this.note(entry.owner, clientId, entry.epoch, process).then((isOurs) => {
      if (!isOurs) {
        this.leaveToOwner(clientId, entry, waiting);
        return;
      }
      this.counters.inherited++;
      this.host.inherit(entry.will, () => {
        if (this.inherited.get(clientId) === entry) this.take(clientId, entry);
        for (const next of waiting) next();
      });
    });
  }

  /** The other holder hears its owner: it is silent for this node alone, and will be there in a moment. */
  private leaveToOwner(clientId: string, entry: Inherited, waiting: readonly (() => void)[]): void {
    entry.publishing = null;
    this.settled.delete(clientId);
    this.network.clock.setTimer(askAgainMs, () => {
      if (this.inherited.get(clientId) === entry) this.proceed(clientId, entry);
    });
    for (const next of waiting) next();
  }

  /**
   * Notes, here and at the other holder, that nobody may publish it any more. With an incarnation, that of its owner, it may
   * turn out that the other one hears that: resolves with false.
   */
  private async note(
    owner: string,
    clientId: string,
    epoch: number,
    incarnation = 0,
  ): Promise<boolean> {
    this.noteHere(owner, clientId, epoch);
    const question: Question = {
      kind: "settled",
      owner,
      incarnation,
      wills: [{ clientId, epoch }],
    };
    const holders = this.holdersOf(clientId);
    const answers = await Promise.all(holders.map((name) => this.question(name, question)));
    return answers.every((answer) => answer === null || decodeAnswer(answer).length === 0);
  }

  private noteHere(owner: string, clientId: string, epoch: number): void {
    setBounded(this.settled, clientId, { owner, epoch });
  }

  private isSettled(clientId: string, epoch: number): boolean {
    return (this.settled.get(clientId)?.epoch ?? -1) >= epoch;
  }

  private take(clientId: string, entry: Inherited): void {
    this.network.clock.clearTimer(entry.timer);
    this.inherited.delete(clientId);
  }

  /** Another node has settled a will: of this very node, or of one for which this one may have held it. */
  private onSettled(owner: string, clientId: string, epoch: number): void {
    this.noteHere(owner, clientId, epoch);
    const held = this.held.get(clientId);
    if (held !== undefined && held.epoch <= epoch) this.drop(clientId);
    const inherited = this.inherited.get(clientId);
    if (inherited !== undefined && inherited.epoch <= epoch && inherited.publishing === null) {
      this.take(clientId, inherited);
    }
    if (owner !== this.network.self) return;
    const own = this.own.get(clientId);
    if (own !== undefined && own.epoch <= epoch) this.own.delete(clientId);
    this.host.onSettled(clientId, epoch);
  }

  /** The owner asks before it publishes: what is not settled is its own from now on. */
  private onAsk(
    peer: string,
    wills: readonly { readonly clientId: string; readonly epoch: number }[],
  ): string[] {
    const settled: string[] = [];
    for (const { clientId, epoch } of wills) {
      const inherited = this.inherited.get(clientId);
      if (this.isSettled(clientId, epoch)) {
        settled.push(clientId);
        continue;
      }
      setBounded(this.returned, clientId, { epoch, before: Number.POSITIVE_INFINITY });
      if (inherited?.owner === peer && inherited.epoch <= epoch) this.take(clientId, inherited);
    }
    return settled;
  }

  /** Has every own will at those who are to hold it by the present list of members. */
  private rearrange(came: readonly string[]): void {
    const incarnation = this.network.incarnation();
    const news = new Map<string, { clientId: string; epoch: number; will: Uint8Array | null }[]>();
    for (const name of came) news.set(name, []);
    const add = (name: string, clientId: string, epoch: number, will: Uint8Array | null): void => {
      const wills = news.get(name) ?? [];
      wills.push({ clientId, epoch, will });
      news.set(name, wills);
    };
    for (const [clientId, own] of this.own) {
      const holders = this.holdersOf(clientId);
      for (const name of holders) {
        if (!own.holders.includes(name) || came.includes(name)) {
          add(name, clientId, own.epoch, own.will);
        }
      }
      for (const name of own.holders) {
        if (!holders.includes(name) && this.live.includes(name))
          add(name, clientId, own.epoch, null);
      }
      own.holders = holders;
    }
    for (const [name, wills] of news) {
      const all = came.includes(name);
      for (let first = 0; first < Math.max(1, wills.length); first += batch) {
        const some = wills.slice(first, first + batch);
        const question: Question = {
          kind: "hold",
          incarnation,
          all: all && first === 0,
          wills: some,
        };
        void this.question(name, question);
      }
    }
  }

  /** A node is back: it hears which of its wills were settled meanwhile. */
  private tellSettled(owner: string): void {
    const wills: { clientId: string; epoch: number }[] = [];
    for (const [clientId, note] of this.settled) {
      if (note.owner === owner) wills.push({ clientId, epoch: note.epoch });
    }
    for (let first = 0; first < wills.length; first += batch) {
      const some = wills.slice(first, first + batch);
      void this.question(owner, { kind: "settled", owner, incarnation: 0, wills: some });
    }
  }

  /** The rest of the cluster is there again: has it settled what is due here? */
  private async askForWaiting(): Promise<void> {
    const { waiting } = this;
    this.waiting = [];
    const isWhole = this.network.isWhole();
    const { settled, isSure } = await this.askSettled(waiting);
    const unsure: Due[] = [];
    for (const due of waiting) {
      if (settled.has(due.clientId)) this.refuse(due.done);
      else if (isSure && (isWhole || !due.wasSmaller))
        this.letGo(due.clientId, due.epoch, () => due.done(true));
      else unsure.push(due);
    }
    if (unsure.length > 0) this.wait(unsure);
  }

  private refuse(done: (isOurs: boolean) => void): void {
    this.counters.settledElsewhere++;
    done(false);
  }
}

const none: readonly string[] = [];
