/**
 * The wills of this node's clients, as far as other nodes hold them: told to their holders before a client hears that it is
 * connected, and taken back from them before this node publishes them itself. What others may have published while they
 * did not hear this node is asked about first; on the smaller side of a cluster that is cut it waits for the rest.
 */
import { homes } from "../cluster/rendezvous.js";
import type { Asking, Due, Own, WillOf } from "./will-entries.js";
import { hasEnded, type Publisher, type WillNotes } from "./will-notes.js";
import type { WillNetwork } from "./will-parts.js";
import { decodeAnswer, type Question } from "./will-wire.js";

/** Wills of one question. */
export const batch = 500;
/** Who may know of what happened before is waited for so long. */
const patienceMs = 30_000;
/** Until nodes that did not answer are asked again. */
const askAgainMs = 500;

export interface OwnWillsParts {
  readonly network: WillNetwork;
  readonly asking: Asking;
  readonly notes: Pick<WillNotes, "isSettled" | "begunBy" | "has">;
  /** Others have published what is due here. */
  onRefused(): void;
}

export class OwnWills {
  private readonly own = new Map<string, Own>();
  private waiting: Due[] = [];
  /** By client id: those that an earlier process left, when not everybody could be asked. */
  private readonly unsure = new Map<string, WillOf>();
  /** Until when others may have been the larger side: what this node had by then may have been published. */
  private doubtMs = Number.NEGATIVE_INFINITY;
  private isSmaller = false;
  /** When members came or went last. */
  private changedMs = 0;
  /** The links over which peers have told which wills of this node they know to be settled. */
  private readonly told = new Map<string, object>();

  constructor(private readonly parts: OwnWillsParts) {}

  /**
   * A session here has this will, or one that others have adopted (`isElsewhere`). `done` when its holders have it, or cannot be
   * had.
   */
  hold(
    clientId: string,
    epoch: number,
    will: Uint8Array,
    done: () => void,
    isElsewhere: boolean,
  ): void {
    const holders = this.holdersOf(clientId);
    const before = this.own.get(clientId);
    if (before !== undefined && before.epoch > epoch) {
      // What an earlier process left is taken up as its client is coming back.
      done();
      return;
    }
    const sinceMs = before?.epoch === epoch ? before.sinceMs : this.nowMs;
    const former = before?.former ?? none;
    const own: Own = { epoch, will, sinceMs, holders, former, isHeld: false, isElsewhere };
    this.own.set(clientId, own);
    this.tell(holders, { clientId, epoch, will, elsewhere: isElsewhere }, (isSure) => {
      if (own.holders === holders) own.isHeld = isSure;
      done();
    });
  }

  /** A session here has its will no more. */
  release(clientId: string, epoch: number): void {
    this.letGo(clientId, epoch, () => undefined);
  }

  /**
   * The will of a session here is due. `done` gets true when no other node will publish it, and false when one
   * has; possibly before this returns.
   */
  due(clientId: string, epoch: number, done: (isOurs: boolean) => void): void {
    const { notes, network } = this.parts;
    if (notes.isSettled(clientId, epoch)) {
      this.parts.onRefused();
      done(false);
      return;
    }
    const isLarger = network.isLargerSide();
    const isDoubtful = !isLarger || notes.has(clientId, epoch) || this.isDoubtful(clientId, epoch);
    const left = this.unsure.get(clientId);
    const own = this.own.get(clientId);
    const isElsewhere = own?.epoch === epoch && own.isElsewhere;
    const waits = isElsewhere || (left?.epoch === epoch && left.waits === true);
    const due = { clientId, epoch, waits, done, isDoubtful };
    // While somebody is silent more than the holders have to know: two sides that both think that they are the larger have
    // one in common.
    if (!isDoubtful && !isElsewhere && network.isWhole()) this.claim(due);
    else {
      this.waiting.push(due);
      if (isLarger) void this.askForWaiting();
    }
  }

  /** Which of the wills that an earlier process of this node left have others settled? At start, once linked. */
  async settledOf(wills: readonly WillOf[]): Promise<ReadonlySet<string>> {
    const { settled, unsure } = await this.askSettled(wills, this.parts.network.incarnation());
    const { isEnough } = this;
    for (const will of wills) {
      if (settled.has(will)) continue;
      if (!isEnough || unsure.has(will)) this.unsure.set(will.clientId, will);
    }
    return new Set([...settled].map(({ clientId }) => clientId));
  }

  /** Did an earlier process leave it, when not everybody could be asked? */
  isUnsure(clientId: string, epoch: number): boolean {
    return this.unsure.get(clientId)?.epoch === epoch;
  }

  /** The epoch of a will that waits here, while its session is at another node; null: there is none. */
  elsewhere(clientId: string): number | null {
    const own = this.own.get(clientId);
    return own?.isElsewhere ? own.epoch : null;
  }

  /** Others have settled it. */
  forget(clientId: string, epoch: number): void {
    const own = this.own.get(clientId);
    if (own !== undefined && own.epoch <= epoch) this.own.delete(clientId);
  }

  /** Asks a peer, over a new link, which wills of this node it knows to be settled; those come one by one. */
  private async askToTell(peer: string, link: object | null): Promise<void> {
    const { network } = this.parts;
    if (network.linkOf(peer) !== link) return;
    const answer = await this.parts.asking.one(peer, { kind: "tell" });
    if (link === null || network.linkOf(peer) !== link) return;
    if (answer === null) {
      network.clock.setTimer(askAgainMs, () => void this.askToTell(peer, link));
      return;
    }
    this.told.set(peer, link);
    this.endDoubt();
  }

  /** What may have been published elsewhere is known when everybody that there is has told. */
  private endDoubt(): void {
    const { network } = this.parts;
    if (this.isSmaller || !this.isEnough) return;
    for (const name of network.live()) {
      const link = network.linkOf(name);
      if (name !== network.self && (link === null || this.told.get(name) !== link)) return;
    }
    this.doubtMs = Number.NEGATIVE_INFINITY;
    // Whether the client of one that waits is back others say when they are asked.
    for (const [clientId, { waits }] of this.unsure) if (!waits) this.unsure.delete(clientId);
  }

  /**
   * Do those that are here know all that was settled? Everybody does; or, if one does not come for long, of two that have
   * noted it one is among them.
   */
  private get isEnough(): boolean {
    const { network } = this.parts;
    const here = network.live().length;
    if (network.isWhole()) return true;
    return here > 1 && network.size() - here <= 1 && this.nowMs - this.changedMs >= patienceMs;
  }

  /** The state of a member has changed. `came`: those that there are new links to. */
  onMembersChanged(came: readonly string[], isSame: boolean): void {
    const { network } = this.parts;
    const wasSmaller = this.isSmaller;
    if (!isSame) this.changedMs = this.nowMs;
    this.isSmaller = !network.isLargerSide();
    if (wasSmaller || this.isSmaller) this.doubtMs = this.nowMs;
    if (came.length > 0 || !isSame) this.rearrange(came);
    for (const name of came) void this.askToTell(name, network.linkOf(name));
    if (this.waiting.length === 0) return;
    if (!this.isSmaller) void this.askForWaiting();
    else for (const due of this.waiting) due.isDoubtful = true;
  }

  /** The other nodes that hold wills of that client id; with a higher count, also those that would be the next. */
  holdersOf(clientId: string, count = 2): readonly string[] {
    const { network } = this.parts;
    const live = network.live();
    if (live.length === 1) return none;
    return homes(clientId, live, count).filter((name) => name !== network.self);
  }

  private get nowMs(): number {
    return this.parts.network.clock.monotonicMs();
  }

  private isDoubtful(clientId: string, epoch: number): boolean {
    if (this.isUnsure(clientId, epoch)) return true;
    const own = this.own.get(clientId);
    const sinceMs = own?.epoch === epoch ? own.sinceMs : Number.NEGATIVE_INFINITY;
    return sinceMs <= this.doubtMs && this.doubtMs !== Number.NEGATIVE_INFINITY;
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
    this.parts.network.clock.setTimer(askAgainMs, () => {
      if (this.waiting.length > 0 && this.parts.network.isLargerSide()) void this.askForWaiting();
    });
  }

  /** Forgets an own will, at its holders first. */
  private letGo(clientId: string, epoch: number, done: (isSure: boolean) => void): void {
    const own = this.own.get(clientId);
    if (this.isUnsure(clientId, epoch)) this.unsure.delete(clientId);
    if (own === undefined || (own.epoch > epoch && own.isHeld)) done(true);
    else if (own.epoch > epoch) {
      // A younger one has taken its place here: at its holders when they have that one.
      const { holders, will, isElsewhere: elsewhere } = own;
      this.tell(holders, { clientId, epoch: own.epoch, will, elsewhere }, done);
    } else {
      this.own.delete(clientId);
      this.tell(this.withFormer(own), { clientId, epoch: own.epoch, will: null }, done);
    }
  }

  private tell(holders: readonly string[], one: News, done: (isSure: boolean) => void): void {
    if (holders.length === 0) {
      done(true);
      return;
    }
    const { network } = this.parts;
    const lasting = one.will === null && !network.isWhole();
    const question: Question = {
      ...{ kind: "hold", incarnation: network.incarnation(), all: false, lasting },
      wills: [one],
    };
    const answers = holders.map((name) => this.parts.asking.one(name, question));
    void Promise.all(answers).then((given) => done(!given.includes(null)));
  }

  /** `unsure`: not everybody answered, or somebody was about to publish it and does not say what became of that. */
  private async askSettled<T extends WillOf>(wills: readonly T[], incarnation = 0) {
    const settled = new Set<T>();
    const unsure = new Set<T>();
    for (const some of questions(wills)) await this.askSome(some, settled, unsure, incarnation);
    return { settled, unsure };
  }

  private async askSome<T extends WillOf>(
    wills: ReadonlyMap<string, T>,
    settled: Set<T>,
    unsure: Set<T>,
    incarnation: number,
  ): Promise<void> {
    const { asking, notes, network } = this.parts;
    const asked = [...wills.values()].map(({ clientId, epoch, waits = false }) => {
      return { clientId, epoch, waits };
    });
    const lasting = incarnation === 0 || !network.isWhole();
    const answers = await asking.all({ kind: "ask", incarnation, lasting, wills: asked });
    const add = (to: Set<T>, clientId: string): void => {
      const will = wills.get(clientId);
      if (will !== undefined) to.add(will);
    };
    // Who is about to publish it, or was; and who says so.
    const begun: (Publisher & { clientId: string; says: string })[] = [];
    for (const { clientId, epoch } of asked) {
      if (notes.isSettled(clientId, epoch)) add(settled, clientId);
      const here = notes.begunBy(clientId, epoch);
      if (here !== null) begun.push({ ...here, clientId, says: network.self });
    }
    for (const [says, answer] of answers) {
      if (answer === null) {
        for (const will of wills.values()) unsure.add(will);
        continue;
      }
      const said = decodeAnswer(answer);
      for (const clientId of said.settled) add(settled, clientId);
      for (const one of said.begun) begun.push({ ...one, says });
    }
    for (const { clientId, by, process, says } of begun) {
      if (hasEnded(network, { by, process })) add(settled, clientId);
      const isAway = (answers.get(by) ?? null) === null && network.isMember(by);
      if (by === says || isAway) add(unsure, clientId);
    }
  }

  /** The rest of the cluster is there again: has it settled what is due here? */
  private async askForWaiting(): Promise<void> {
    const { waiting } = this;
    this.waiting = [];
    const { isEnough } = this;
    const { settled, unsure } = await this.askSettled(waiting);
    const again: Due[] = [];
    for (const due of waiting) {
      if (settled.has(due)) {
        this.parts.onRefused();
        due.done(false);
      } else if (!unsure.has(due) && (isEnough || !due.isDoubtful)) {
        this.letGo(due.clientId, due.epoch, () => due.done(true));
      } else again.push(due);
    }
    if (again.length > 0) this.wait(again);
  }

  /** Has every own will at those who are to hold it by the present list of members. */
  private rearrange(came: readonly string[]): void {
    const { network } = this.parts;
    const live = network.live();
    const news = new Map<string, News[]>();
    for (const name of came) news.set(name, []);
    const add = (name: string, one: News): void => {
      const wills = news.get(name) ?? [];
      wills.push(one);
      news.set(name, wills);
    };
    for (const [clientId, own] of this.own) {
      const { epoch, will } = own;
      const holders = this.holdersOf(clientId);
      for (const name of holders) {
        if (!own.holders.includes(name) || came.includes(name))
          add(name, { clientId, epoch, will, elsewhere: own.isElsewhere });
      }
      const former = this.withFormer(own).filter((name) => !holders.includes(name));
      for (const name of former) {
        if (live.includes(name)) add(name, { clientId, epoch, will: null });
      }
      own.former = former.length === 0 ? none : former.filter((name) => live.includes(name));
      own.holders = holders;
    }
    for (const [name, wills] of news) this.give(name, wills, came.includes(name));
  }

  /** All that may hold it. */
  private withFormer({ holders, former }: Own): readonly string[] {
    return former.length === 0 ? holders : [...new Set([...holders, ...former])];
  }

  /** `all`: what that node holds of this one is these. */
  private give(name: string, wills: readonly News[], all: boolean): void {
    const incarnation = this.parts.network.incarnation();
    for (let first = 0; first < Math.max(1, wills.length); first += batch) {
      const some = wills.slice(first, first + batch);
      const former = some.filter(({ will }) => will === null);
      const holders = former.map(({ clientId }) => this.own.get(clientId)?.holders);
      const question: Question = {
        ...({ kind: "hold", incarnation, all: all && first === 0, lasting: false } as const),
        wills: some,
      };
      void this.parts.asking.one(name, question).then((answer) => {
        if (answer === null) return;
        for (const [index, { clientId }] of former.entries()) {
          const own = this.own.get(clientId);
          // It was told something else since.
          if (own === undefined || own.holders !== holders[index]) continue;
          own.former = own.former.filter((one) => one !== name);
        }
      });
    }
  }
}

/** What a holder hears of one will; null: it holds it no more. */
interface News {
  readonly clientId: string;
  readonly epoch: number;
  readonly will: Uint8Array | null;
  readonly elsewhere?: boolean;
}

const none: readonly string[] = [];

/** By client id; what is settled is named by that, so none is twice in one question. */
function questions<T extends WillOf>(wills: readonly T[]): Map<string, T>[] {
  const all: Map<string, T>[] = [];
  for (const will of wills) {
    let some = all.find((one) => one.size < batch && !one.has(will.clientId));
    if (some === undefined) all.push((some = new Map()));
    some.set(will.clientId, will);
  }
  return all;
}
