/**
 * Stands for a superseded session with the router until that is handed over: of each origin it takes only what was
 * published before the younger session got everything itself; the rest is that one's. Of groups it is no member any more.
 */
import { isLater } from "../../cluster/position.js";
import { isShared } from "../../protocol/topics.js";
import type { Message } from "../../routing/message.js";
import type { Delivery, Subscriber } from "../../routing/targets.js";
import type { Session } from "../session.js";
import type { Cut } from "./wire.js";

export class Remainder implements Subscriber {
  readonly persistent = true;
  /** Publishes that were left to the younger session. */
  left = 0;
  private readonly byOrigin = new Map<string, Cut>();
  private isClosed = false;

  /** `cuts`: of origins that are not named it takes everything; `self`: the name of this node. */
  constructor(
    private readonly session: Session,
    cuts: readonly Cut[],
    private readonly self: string,
  ) {
    this.cutAt(cuts);
  }

  /**
   * The younger session has got its first subscription meanwhile. What this node publishes was that one's before. Of two younger
   * ones each has what was published since its own: the first counts.
   */
  cutAt(cuts: readonly Cut[]): void {
    for (const cut of cuts) {
      const before = this.byOrigin.get(cut.origin);
      if (before === undefined || isLater(before, cut)) this.byOrigin.set(cut.origin, cut);
    }
  }

  get clientId(): string {
    return this.session.clientId;
  }

  /** Takes the place of the session with the router. */
  subscribe(): void {
    const { session } = this;
    const { router } = session.host;
    for (const [filter, options] of session.subscriptions) {
      if (!isShared(filter)) router.subscribe(this, filter, options, true, false);
      router.unsubscribe(session, filter);
    }
  }

  unsubscribe(): void {
    const { router } = this.session.host;
    for (const filter of this.session.subscriptions.keys()) {
      if (!isShared(filter)) router.unsubscribe(this, filter);
    }
  }

  /** Gives the session its place back. */
  giveBack(): void {
    const { session } = this;
    for (const [filter, options] of session.subscriptions) {
      session.restoreSubscription(filter, options);
    }
    this.unsubscribe();
  }

  /** From now on everything is the younger session's. */
  close(): void {
    this.isClosed = true;
  }

  /** It was not handed over after all. */
  reopen(): void {
    this.isClosed = false;
  }

  deliver(message: Message, delivery: Delivery): boolean {
    const { session } = this;
    if (!this.isClosed && !this.isLater(message)) {
      return session.deliver(message, { ...delivery, subscriber: session });
    }
    this.left++;
    return true;
  }

  private isLater({ origin, counter }: Message): boolean {
    const slash = origin === null ? -1 : origin.name.lastIndexOf("/");
    const name = origin === null || slash === 0 ? this.self : nodeOf(origin.name, slash);
    const cut = this.byOrigin.get(name);
    if (cut === undefined || counter === 0) return false;
    return isLater({ incarnation: origin?.incarnation ?? cut.incarnation, counter }, cut);
  }
}

const nodeOf = (origin: string, slash: number): string =>
  slash === -1 ? origin : origin.slice(0, slash);
