/**
 * The wills of clients whose sessions' nodes are dead or silent, at the homes of the client ids: each waits until it is due, and until
 * it is certain that its owner will not publish it, or that is ours to say. Whoever is about to publish one has that noted at
 * the other holder first, while a member is silent, or was since it waits, at all that are not; so nobody else does. Who gives
 * that up tells them.
 */
import { home } from "../cluster/rendezvous.js";
import { sleep } from "../lib/clock.js";
import { batch } from "./own-wills.js";
import { type Asking, type Held, type Inherited, setBounded, type WillOf } from "./will-entries.js";
import { keyOf, type WillNotes } from "./will-notes.js";
import type { WillHost, WillNetwork } from "./will-parts.js";
import { decodeAnswer } from "./will-wire.js";

/** Until a will that was left to its owner is looked at again. */
const askAgainMs = 500;
/** Until a holder that did not answer is told again. */
const askSoonMs = 100;
/** Nodes that know of a will that it is settled, if there are so many: one of them has to be there when its owner starts. */
const witnesses = 3;
/** Settled: nobody is about to publish it. */
const nobodys = { incarnation: 0, process: 0 };

export interface InheritedParts {
  readonly network: WillNetwork;
  readonly host: Pick<WillHost, "delayMs" | "isOnceAtMost" | "inherit" | "keep" | "unkeep">;
  readonly asking: Asking;
  readonly notes: WillNotes;
  /** Members that are up or suspect, as they were when they changed last. */
  live(): readonly string[];
  /** The other ones of so many nodes that hold wills of that client id, or would be the next to. */
  holdersOf(clientId: string, count: number): readonly string[];
  /** Was its owner told, by this node, that nobody else would publish it? */
  isReturned(clientId: string, epoch: number, incarnation: number): boolean;
  onPublish(): void;
}

export class InheritedWills {
  private readonly inherited = new Map<string, Inherited>();
  /** By name of a node: what it heard this one begin, and has not heard yet that nothing came of it. */
  private readonly givenUp = new Map<string, Map<string, WillOf>>();

  constructor(private readonly parts: InheritedParts) {}

  get size(): number {
    return this.inherited.size;
  }

  has(clientId: string): boolean {
    return this.inherited.has(clientId);
  }

  /**
   * Its owner is dead or silent, or has let go of it: `entrusted`. `agoMs`: since when. `isDoubtful`: some members were silent
   * while it waited elsewhere.
   */
  takeOver(
    clientId: string,
    entry: Held,
    agoMs: number,
    entrusted: boolean,
    isDoubtful: boolean,
  ): void {
    const known = this.inherited.get(clientId);
    if (this.parts.notes.has(clientId, entry.epoch)) return;
    if (!entrusted && this.parts.isReturned(clientId, entry.epoch, entry.incarnation)) return;
    if (known !== undefined && known.epoch >= entry.epoch) return;
    if (known !== undefined) this.take(clientId, known);
    const dueMs = this.nowMs + Math.max(0, this.parts.host.delayMs(entry.will) - agoMs);
    const begun = { publishing: null, told: new Set<string>() };
    const taken: Inherited = { ...entry, dueMs, entrusted, isDoubtful, timer: undefined, ...begun };
    this.inherited.set(clientId, taken);
    if (entrusted) this.parts.host.keep(entry.will);
    this.noteSilence(taken);
    this.proceed(clientId, taken);
  }

  /** The client has come back, with another home maybe: a will that waits is void. */
  voidBefore(clientId: string, epoch: number): void {
    const entry = this.inherited.get(clientId);
    if (entry === undefined || entry.epoch >= epoch || entry.publishing !== null) return;
    this.take(clientId, entry);
    void this.note(entry.owner, clientId, entry.epoch);
  }

  /** Before a claim is granted for that client id: what waits here is published or void first. */
  settleFirst(clientId: string, done: () => void): void {
    const entry = this.inherited.get(clientId);
    if (entry === undefined) done();
    else if (entry.publishing !== null) entry.publishing.push(done);
    else if (entry.dueMs <= this.nowMs && this.mayAct(entry)) {
      this.publish(clientId, entry, done);
    } else if (entry.dueMs <= this.nowMs && this.isSuspect(entry)) {
      // Another node has found it dead. In a moment this one knows, too.
      this.parts.network.clock.setTimer(askSoonMs, () => this.settleFirst(clientId, done));
    } else {
      // The client is back before its delay was over, or while nobody may speak for its node.
      this.take(clientId, entry);
      void this.note(entry.owner, clientId, entry.epoch).then(done);
    }
  }

  /** Its owner asks for it, and is told that nobody else publishes it. */
  leaveTo(owner: string, clientId: string, epoch: number): void {
    const entry = this.inherited.get(clientId);
    if (entry?.owner === owner && entry.epoch <= epoch) this.take(clientId, entry);
  }

  /** Its owner lives, and says what becomes of it: another node had taken that for dead, and told so late. */
  onOwner(owner: string, clientId: string, epoch: number): void {
    const isEntrusted = this.inherited.get(clientId)?.entrusted === true;
    if (!isEntrusted) this.leaveTo(owner, clientId, epoch);
  }

  /** A process that was silent lives: it speaks for itself again. */
  leaveAllTo(owner: string, incarnation: number): void {
    for (const [clientId, entry] of this.inherited) {
      const isItsOwn = entry.owner === owner && entry.incarnation === incarnation;
      if (isItsOwn && !entry.entrusted) this.take(clientId, entry);
    }
  }

  /** It is not for this node to publish it. */
  forget(clientId: string, epoch: number): void {
    const entry = this.inherited.get(clientId);
    if (entry !== undefined && entry.epoch <= epoch && entry.publishing === null) {
      this.take(clientId, entry);
    }
  }

  /** Members have come or gone. */
  onMembersChanged(): void {
    // A process that was silent and is certainly dead now.
    for (const [clientId, entry] of [...this.inherited]) {
      this.noteSilence(entry);
      if (!entry.entrusted) this.proceed(clientId, entry);
      this.sendOn(clientId, entry);
    }
    for (const [name, wills] of [...this.givenUp]) {
      this.givenUp.delete(name);
      this.tellGivenUp(name, [...wills.values()]);
    }
  }

  private get nowMs(): number {
    return this.parts.network.clock.monotonicMs();
  }

  /** What its owner, or others, did on another side of a cut not only its present holders know. */
  private noteSilence(entry: Inherited): void {
    if (!this.parts.network.isWhole()) entry.isDoubtful = true;
  }

  /** What waits here goes to whoever is asked for the client id now. */
  private sendOn(clientId: string, entry: Inherited): void {
    const { owner, incarnation, publishing, entrusted, isDoubtful } = entry;
    // The process that gave it away knows where it is, should it be asked.
    const isThere = this.parts.network.incarnationOf(owner) === incarnation;
    const to = home(
      clientId,
      isThere ? this.parts.live().filter((name) => name !== owner) : this.parts.live(),
    );
    // What was not entrusted the new process of its owner asks for.
    if (publishing !== null || to === this.parts.network.self || (to === owner && !entrusted))
      return;
    const leftMs = entry.dueMs - this.nowMs;
    const agoMs = entrusted ? 0 : Math.max(0, this.parts.host.delayMs(entry.will) - leftMs);
    const given = this.parts.asking.inherit(to, clientId, entry, agoMs, entrusted, isDoubtful);
    void given.then((isHeld) => {
      if (isHeld && entry.publishing === null) this.take(clientId, entry);
    });
  }

  /** Publishes what is due and ours to publish; else it waits for its time, or for another view of the members. */
  private proceed(clientId: string, entry: Inherited): void {
    if (entry.publishing !== null || entry.timer !== undefined) return;
    const waitMs = entry.dueMs - this.nowMs;
    if (waitMs > 0) {
      entry.timer = this.parts.network.clock.setTimer(waitMs, () => {
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
    const { network } = this.parts;
    if (entrusted) return true;
    if (!network.isLargerSide()) return false;
    // One that is there again speaks for itself in a moment.
    return !this.parts.live().includes(owner) || network.incarnationOf(owner) > incarnation;
  }

  /** Is it not known yet whether its owner is there? */
  private isSuspect({ owner }: Inherited): boolean {
    const { network } = this.parts;
    return (
      network.isLargerSide() && this.parts.live().includes(owner) && network.linkOf(owner) === null
    );
  }

  private publish(clientId: string, entry: Inherited, done: () => void): void {
    const waiting = [done];
    entry.publishing = waiting;
    void this.noteFirst(clientId, entry).then((isOurs) => {
      if (!isOurs) {
        this.leaveToOwner(clientId, entry, waiting);
        return;
      }
      this.parts.onPublish();
      this.parts.host.inherit(entry.owner, entry.will, () => {
        this.tellPublished(clientId, entry);
        if (this.inherited.get(clientId) === entry) this.take(clientId, entry);
        for (const next of waiting) next();
      });
    });
  }

  /** Resolves with true when it is noted at both holders that it is published. */
  private async noteFirst(clientId: string, entry: Inherited): Promise<boolean> {
    const { owner, epoch, incarnation, entrusted, will } = entry;
    const { network, host, notes } = this.parts;
    const process = host.isOnceAtMost(will) ? network.incarnation() : 0;
    // One that has given it away is not asked.
    const about = entrusted ? nobodys : { incarnation, process };
    for (;;) {
      const names = this.toTell(clientId, entry.isDoubtful);
      for (const name of names) entry.told.add(name);
      const outcome = await this.note(owner, clientId, epoch, about, names);
      if (outcome === "noted" || entrusted) return true;
      notes.giveUp(clientId, epoch);
      if (outcome === "left to it") this.take(clientId, entry);
      if (outcome !== "not known") break;
      // A holder that does not answer may be on the other side of a cut that nobody has noticed yet.
      await sleep(network.clock, askSoonMs);
      // Another node has begun, or published it, while this one waited.
      if (notes.has(clientId, epoch) && this.inherited.get(clientId) === entry) {
        this.take(clientId, entry);
      }
      if (this.inherited.get(clientId) !== entry || !this.mayAct(entry)) break;
    }
    for (const name of entry.told) this.tellGivenUp(name, [{ clientId, epoch }]);
    return false;
  }

  /** That node may take these for begun until it hears that nothing came of it: over another link, if this one breaks. */
  private tellGivenUp(name: string, all: readonly WillOf[]): void {
    const { network, notes, asking } = this.parts;
    const keep = (wills: readonly WillOf[]): void => {
      if (wills.length === 0 || !network.isMember(name)) return;
      const kept = this.givenUp.get(name) ?? new Map<string, WillOf>();
      for (const will of wills) setBounded(kept, keyOf(will.clientId, will.epoch), will);
      this.givenUp.set(name, kept);
    };
    // This node may have begun again, and published it.
    const wills = all.filter(({ clientId, epoch }) => !notes.has(clientId, epoch));
    keep(all.filter(({ clientId, epoch }) => notes.begunBy(clientId, epoch) !== null));
    for (let first = 0; first < wills.length; first += batch) {
      const some = wills.slice(first, first + batch);
      void asking.one(name, { kind: "given up", wills: some }).then((answer) => {
        if (answer === null) keep(some);
      });
    }
  }

  /** The other holder hears its owner: it is silent for this node alone, and will be there in a moment. */
  private leaveToOwner(clientId: string, entry: Inherited, waiting: readonly (() => void)[]): void {
    entry.publishing = null;
    this.parts.network.clock.setTimer(askAgainMs, () => {
      if (this.inherited.get(clientId) === entry) this.proceed(clientId, entry);
    });
    // Nobody may speak for it now, and its client is back.
    const isVoid = this.inherited.get(clientId) === entry && !this.mayAct(entry);
    for (const next of waiting) {
      if (isVoid && next !== nobody) this.settleFirst(clientId, next);
      else next();
    }
  }

  /**
   * Notes, here and at the other holder, and while a member is silent at all that are not, that nobody may publish it any
   * more. With an incarnation, that of its owner, this node is about to; it may turn out that the other one hears the
   * owner, or has left the will to it.
   */
  private async note(
    owner: string,
    clientId: string,
    epoch: number,
    about = nobodys,
    names = this.toTell(clientId),
  ): Promise<"noted" | "its owner is heard" | "left to it" | "not known"> {
    const { notes, network } = this.parts;
    if (about === nobodys) notes.settle(owner, clientId, epoch);
    else notes.begin(owner, clientId, epoch, { by: network.self, process: about.process });
    const wills = [{ clientId, epoch }];
    const hearsAll = network.isWhole();
    const answers = await this.parts.asking.some(names, {
      kind: "settled",
      ...{ owner, ...about, hearsAll, wills },
    });
    const said = [...answers.values()].map((answer) => answer && decodeAnswer(answer));
    if (said.some((one) => one !== null && one.left.length > 0)) return "left to it";
    if (said.some((one) => one !== null && one.settled.length > 0)) return "its owner is heard";
    return said.includes(null) ? "not known" : "noted";
  }

  /** Who has to know that a will may not be published any more, and may know that already. */
  private toTell(clientId: string, isDoubtful = false): readonly string[] {
    const { network } = this.parts;
    if (!isDoubtful && network.isWhole()) return this.parts.holdersOf(clientId, witnesses);
    return this.parts.live().filter((name) => name !== network.self);
  }

  /**
   * It is published, as the other holder and its owner hear, and everybody who heard that it had begun: that alone keeps no
   * owner from publishing it when this node and the holder are dead.
   */
  private tellPublished(clientId: string, { owner, epoch, told }: Inherited): void {
    this.parts.notes.settle(owner, clientId, epoch);
    const wills = [{ clientId, epoch }];
    const names = new Set([...told, ...this.parts.holdersOf(clientId, witnesses)]);
    if (this.parts.live().includes(owner)) names.add(owner);
    for (const name of names) {
      void this.parts.asking.one(name, { kind: "settled", owner, ...nobodys, wills });
    }
  }

  private take(clientId: string, entry: Inherited): void {
    this.parts.network.clock.clearTimer(entry.timer);
    this.inherited.delete(clientId);
    if (entry.entrusted) this.parts.host.unkeep(clientId, entry.epoch);
  }
}

/** Waits for a will in nobody's name. */
const nobody = (): void => undefined;
