/**
 * The wills of clients at two further nodes, so that they are published when the node of the session dies: by the
 * home of the client id, after the other holder has noted it. A will is published once: a node lets go of it at its
 * holders before it publishes it itself, and one that comes back asks whether others have done so. What a silent
 * node left is published by the larger side of a cluster that is cut in two (cluster/sides.ts); the smaller one waits.
 * What is held is in memory: the session's node has it in its store.
 */
import { home } from "../cluster/rendezvous.js";
import { HeldWills } from "./held-wills.js";
import { InheritedWills } from "./inherited-wills.js";
import { batch, OwnWills } from "./own-wills.js";
import { type Begun, decodeQuestion, encodeAnswer, type Question } from "./will-wire.js";
import type { WillHost, WillNetwork } from "./will-parts.js";
import { ReturnedWills } from "./returned-wills.js";
import { Asking, setBounded, type WillOf } from "./will-entries.js";
import { WillNotes } from "./will-notes.js";
import type { NotedWill } from "./will-record.js";

export const willService = "wills";

/** Who starts hears everybody that there is after this time. */
const freshMs = 5_000;

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
  private readonly held: HeldWills;
  private readonly inherited: InheritedWills;
  private readonly notes: WillNotes;
  private readonly returned: ReturnedWills;
  /** By client id: wills that were entrusted to others, where claims for that client id may still come here. */
  private readonly given = new Map<string, { readonly epoch: number; readonly dueMs: number }>();
  private live: readonly string[];
  private readonly startedMs: number;
  /** The links over which peers have heard of our wills. */
  private readonly links = new Map<string, object>();

  constructor(
    private readonly network: WillNetwork,
    private readonly host: WillHost,
  ) {
    this.live = [network.self];
    this.startedMs = network.clock.monotonicMs();
    const { counters } = this;
    this.notes = new WillNotes(network, host);
    this.returned = new ReturnedWills(network, host);
    this.asking = new Asking(network, () => void counters.unanswered++);
    this.held = new HeldWills(() => void counters.refused++);
    this.own = new OwnWills({
      ...{ network, asking: this.asking },
      notes: this.notes,
      onRefused: () => void counters.settledElsewhere++,
    });
    this.inherited = new InheritedWills({
      ...{ network, host, asking: this.asking, notes: this.notes },
      live: () => this.live,
      holdersOf: (clientId, count) => this.own.holdersOf(clientId, count),
      isReturned: (clientId, epoch, incarnation) => this.returned.has(clientId, epoch, incarnation),
      onPublish: () => void counters.inherited++,
    });
  }

  /** Wills that are held for other nodes. */
  get size(): number {
    return this.held.size + this.inherited.size;
  }

  /**
   * A session here has this will, or one that others have adopted (`isElsewhere`). `done` when its holders have it, or cannot be
   * had.
   */
  hold(
    clientId: string,
    epoch: number,
    will: Uint8Array,
    done: () => void,
    isElsewhere = false,
  ): void {
    // The session has come from the node for which this one held it.
    if ((this.held.get(clientId)?.epoch ?? epoch) < epoch) this.held.drop(clientId);
    this.inherited.voidBefore(clientId, epoch);
    this.own.hold(clientId, epoch, will, done, isElsewhere);
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
      if (here)
        this.inherited.takeOver(clientId, { owner, incarnation, epoch, will }, 0, true, false);
      done(here);
      return;
    }
    const dueMs = this.nowMs + this.host.delayMs(will);
    setBounded(this.given, clientId, { epoch, dueMs });
    this.counters.entrusted++;
    const entry = { owner, incarnation, epoch, will };
    void this.asking
      .inherit(home(clientId, others), clientId, entry, 0, true, false)
      .then((isHeld) => {
        if (!isHeld) this.given.delete(clientId);
        done(isHeld);
      });
  }

  /** Which of the wills that an earlier process of this node left have others settled? At start, once linked. */
  settledOf(wills: readonly WillOf[]): Promise<ReadonlySet<string>> {
    return this.own.settledOf(wills);
  }

  /** Could not everybody be asked what had become of that will, which an earlier process left? */
  isUnsure(clientId: string, epoch: number): boolean {
    return this.own.isUnsure(clientId, epoch);
  }

  /** Has `beforeGrant` something to do for this client id? */
  isOwed(clientId: string): boolean {
    const isKnown = this.inherited.has(clientId) || this.given.has(clientId);
    return isKnown || this.elsewhere(clientId) !== null;
  }

  /** The will of that client which waits at a node whose session of it was adopted by another one. */
  private elsewhere(clientId: string): { owner: string; epoch: number } | null {
    const epoch = this.own.elsewhere(clientId);
    if (epoch !== null) return { owner: this.network.self, epoch };
    const held = this.held.get(clientId);
    return held?.isElsewhere === true ? held : null;
  }

  /** As home, before a claim is granted: what a node that is down left is published or void first. */
  beforeGrant(clientId: string, done: () => void): void {
    const given = this.given.get(clientId);
    this.given.delete(clientId);
    if (given !== undefined && given.dueMs > this.nowMs) {
      // Whoever has it does not publish it: the client is back.
      const wills = [{ clientId, epoch: given.epoch }];
      void this.asking
        .all({ kind: "settled", owner: this.network.self, incarnation: 0, process: 0, wills })
        .then(() => done());
      return;
    }
    const elsewhere = this.elsewhere(clientId);
    if (elsewhere === null) this.inherited.settleFirst(clientId, done);
    else {
      const { owner, epoch } = elsewhere;
      this.onSettled(owner, clientId, epoch);
      const wills = [{ clientId, epoch }];
      void this.asking
        .all({ kind: "settled", owner, incarnation: 0, process: 0, wills })
        .then(() => this.inherited.settleFirst(clientId, done));
    }
  }

  /** A question of a peer; returns the answer, null when there is none. */
  onQuestion(peer: string, body: Uint8Array): Uint8Array | null | Promise<Uint8Array | null> {
    const question = decodeQuestion(body);
    if (question === null) return null;
    switch (question.kind) {
      case "hold":
        this.onHold(peer, question);
        return question.lasting ? this.onceNoted(encodeAnswer([])) : encodeAnswer([]);
      case "inherit":
        this.onInherit(question);
        // Who has entrusted them lets go of them then.
        return question.entrusted ? this.onceNoted(encodeAnswer([])) : encodeAnswer([]);
      case "settled": {
        const { owner, incarnation, hearsAll, wills } = question;
        const isHere = incarnation !== 0 && this.network.incarnationOf(owner) === incarnation;
        if (isHere) return this.answerForOwner(incarnation, wills);
        if (incarnation !== 0 && this.isFresh(hearsAll !== false)) return null;
        if (incarnation !== 0)
          return this.onceNoted(encodeAnswer([], this.onBegin(peer, question)));
        for (const { clientId, epoch } of wills) this.onSettled(owner, clientId, epoch);
        return this.onceNoted(encodeAnswer([]));
      }
      case "given up":
        for (const { clientId, epoch } of question.wills) this.notes.giveUp(clientId, epoch, peer);
        return encodeAnswer([]);
      case "tell":
        return this.tellSettled(peer).then((isTold) => (isTold ? encodeAnswer([]) : null));
      case "ask":
        return this.onAsk(peer, question);
    }
  }

  /** An earlier process of this node had noted that. Before the first question, and after `isHere`. */
  restoreNote(noted: NotedWill): void {
    if (noted.by === noted.owner) this.returned.restore(noted);
    else this.notes.restore(noted);
  }

  /** What the asker is told that this node knows it still knows when it starts again. */
  private onceNoted(answer: Uint8Array): Promise<Uint8Array> {
    return new Promise((resolve) => this.host.whenNoted(() => resolve(answer)));
  }

  /** Must be called whenever the state of a member has changed. */
  onMembersChanged(): void {
    const before = this.live;
    this.live = [...this.network.live()];
    for (const name of before) if (!this.live.includes(name)) this.bequeath(name);
    this.settleEnded();
    this.inherited.onMembersChanged();
    const came = this.live.filter((name) => this.isNewLink(name));
    const isSame =
      before.length === this.live.length && before.every((name, i) => name === this.live[i]);
    this.own.onMembersChanged(came, isSame);
    this.notes.forgetStrangers();
    this.returned.forgetStrangers();
    const kept = (): string[] => [...this.notes.keptOwners(), ...this.returned.keptOwners()];
    const names = new Set(this.isComplete() ? [...came, ...kept()] : came);
    for (const name of names) void this.tellSettled(name);
  }

  /** Is every member linked? Nobody holds wills that their owners do not know of then. */
  private isComplete(): boolean {
    const { network } = this;
    const others = this.live.filter((name) => name !== network.self);
    return this.live.length === network.size() && others.every((name) => network.linkOf(name));
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
      for (const [clientId] of this.held.of(peer)) this.held.drop(clientId);
      this.inherited.leaveAllTo(peer, incarnation);
    }
    for (const { clientId, epoch, will, elsewhere } of wills) {
      this.network.observe(epoch);
      if (will !== null) this.inherited.voidBefore(clientId, epoch);
      this.inherited.onOwner(peer, clientId, epoch);
      const before = this.held.get(clientId);
      if (before !== undefined && before.epoch > epoch) continue;
      if (before !== undefined && (will !== null || before.owner === peer))
        this.held.drop(clientId);
      if (will === null && lasting) {
        this.returned.mark(peer, clientId, epoch, 0, true);
      } else if (will !== null) this.returned.heldAgain(clientId, epoch, incarnation);
      if (will === null) continue;
      const entry = { owner: peer, incarnation, epoch, will, isElsewhere: elsewhere === true };
      this.held.keep(clientId, entry);
    }
  }

  /** A node is dead or silent: what is held of it goes to the homes of the client ids. */
  private bequeath(owner: string): void {
    const perHome = new Map<string, { clientId: string; epoch: number; will: Uint8Array }[]>();
    const doubtful = !this.network.isWhole();
    let incarnation = 0;
    for (const [clientId, entry] of this.held.of(owner)) {
      this.held.drop(clientId);
      // It goes on alone, with its clients.
      if (!this.network.isMember(owner)) continue;
      ({ incarnation } = entry);
      const at = home(clientId, this.live);
      if (at === this.network.self) this.inherited.takeOver(clientId, entry, 0, false, doubtful);
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
          ...{ entrusted: false, doubtful, wills: some },
        });
      }
    }
  }

  private onInherit(question: Question & { kind: "inherit" }): void {
    const { owner, incarnation, agoMs, wills, entrusted, doubtful } = question;
    for (const { clientId, epoch, will } of wills) {
      this.network.observe(epoch);
      const entry = { owner, incarnation, epoch, will: Uint8Array.from(will) };
      this.inherited.takeOver(clientId, entry, agoMs, entrusted, doubtful);
    }
  }

  /**
   * It may have known of wills before it started, and those who may know of them, too, are not all asked yet: that is certain once
   * both this node and the one that asks it hear everybody.
   */
  private isFresh(askerHearsAll: boolean): boolean {
    const isNew = this.nowMs - this.startedMs < freshMs;
    return isNew && !(askerHearsAll && this.network.isWhole());
  }

  /** Their owner, which this node hears, speaks for itself. Who asks need not keep what is its owner's, or settled, for good. */
  private answerForOwner(incarnation: number, wills: readonly WillOf[]): Uint8Array {
    const ids = (of: readonly WillOf[]): string[] => of.map(({ clientId }) => clientId);
    const left = wills.filter(
      ({ clientId, epoch }) =>
        this.notes.isSettled(clientId, epoch) || this.returned.has(clientId, epoch, incarnation),
    );
    return encodeAnswer(ids(wills), ids(left));
  }

  /** Another node is about to publish these. Returns those that are not for it to publish. */
  private onBegin(peer: string, question: Question & { kind: "settled" }): string[] {
    const { owner, incarnation, process, wills } = question;
    const left: string[] = [];
    for (const { clientId, epoch } of wills) {
      const isNoted =
        this.notes.has(clientId, epoch) && this.notes.begunBy(clientId, epoch)?.by !== peer;
      // An earlier process of this very node was its owner.
      const isOver = owner === this.network.self && this.host.hasLetGo(clientId, epoch);
      if (isNoted || isOver || this.returned.has(clientId, epoch, incarnation)) left.push(clientId);
      else {
        this.notes.begin(owner, clientId, epoch, { by: peer, process });
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

  /** What processes began to publish with QoS 0 that are dead now: it may have come, as its owner hears. */
  private settleEnded(): void {
    const owners = new Set<string>();
    for (const { owner, clientId, epoch } of this.notes.ended(this.network)) {
      this.onSettled(owner, clientId, epoch);
      owners.add(owner);
    }
    const isThere = (owner: string): boolean => this.network.linkOf(owner) !== null;
    for (const owner of owners) if (isThere(owner)) void this.tellSettled(owner);
  }

  /** It is not for this node to publish for its owner. */
  private forget(clientId: string, epoch: number): void {
    const held = this.held.get(clientId);
    if (held !== undefined && held.epoch <= epoch) this.held.drop(clientId);
    this.inherited.forget(clientId, epoch);
  }

  /**
   * This will is taken care of here: it was found published at the start, for `owner` maybe, or came with a session under
   * another epoch.
   */
  isHere(clientId: string, epoch: number, owner = ""): void {
    this.notes.settle(owner, clientId, epoch);
  }

  /** What an earlier process was publishing for `owner` has been accepted. Others know that it began, and hear the rest now. */
  publishedAgain(clientId: string, epoch: number, owner: string): void {
    if (owner === "") return;
    const wills = [{ clientId, epoch }];
    void this.asking.all({ kind: "settled", owner, incarnation: 0, process: 0, wills });
  }

  /** The owner asks before it publishes: what is not settled, and nobody is about to publish, is its own from now on. */
  private onAsk(
    peer: string,
    { wills, incarnation, lasting }: Question & { kind: "ask" },
  ): Promise<Uint8Array> {
    const isKept = lasting || !this.network.isWhole();
    const settled: string[] = [];
    const begun: Begun[] = [];
    for (const { clientId, epoch, waits = false } of wills) {
      const publisher = this.notes.begunBy(clientId, epoch);
      if (publisher !== null) begun.push({ clientId, ...publisher });
      if (waits && publisher === null && this.host.isBack(clientId, epoch)) {
        this.notes.settle(peer, clientId, epoch);
      }
      if (this.notes.isSettled(clientId, epoch)) settled.push(clientId);
      if (publisher?.by === this.network.self || this.notes.isSettled(clientId, epoch)) continue;
      this.returned.mark(peer, clientId, epoch, incarnation, isKept);
      this.inherited.leaveTo(peer, clientId, epoch);
    }
    return this.onceNoted(encodeAnswer(settled, [], begun));
  }

  /** A node is back: it hears which of its wills were settled meanwhile. Resolves with whether that is all it has to know. */
  private async tellSettled(owner: string): Promise<boolean> {
    const wills = this.notes.of(owner);
    const answers: Promise<Uint8Array | null>[] = [];
    for (let first = 0; first < wills.length; first += batch) {
      const some = wills.slice(first, first + batch);
      const settled = { kind: "settled", owner, incarnation: 0, process: 0, wills: some } as const;
      answers.push(this.asking.one(owner, settled));
    }
    const isHeard = !(await Promise.all(answers)).includes(null);
    if (isHeard && this.isComplete()) {
      this.notes.heardBy(owner, wills);
      this.returned.letGo(owner);
    }
    return isHeard && !this.notes.isOpen(owner);
  }
}
