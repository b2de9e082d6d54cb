/**
 * Stands for a session that is about to come: it subscribes to the session's filters, and holds what it gets, unaccepted,
 * until the session is here or is known not to come.
 */
import { Ring } from "../../lib/ring.js";
import type { Message } from "../../routing/message.js";
import type { Delivery, Subscriber } from "../../routing/targets.js";
import { isShared } from "../../protocol/topics.js";
import type { SessionHost } from "../host.js";
import type { Session } from "../session.js";
import type { SnapshotSubscription } from "./snapshot.js";

interface Held {
  readonly message: Message;
  readonly delivery: Delivery;
}

/** The number that was taken of this node's own publishes at the old owner. */
export interface OwnPosition {
  readonly incarnation: number;
  readonly counter: number;
}

export class MovingIn implements Subscriber {
  readonly persistent = true;
  /** It was to hold more than a session may. */
  isOverfull = false;
  private readonly held = new Ring<Held>();
  private dropped = 0;
  private bytes = 0;
  private isOver = false;

  constructor(
    readonly clientId: string,
    private readonly host: SessionHost,
    private readonly subscriptions: readonly SnapshotSubscription[],
    /** It is certain that the session comes: share groups have it as a member already. */
    private readonly isCertain = false,
  ) {}

  get length(): number {
    return this.held.length;
  }

  /** Of groups it is no member while the session may not come: what they get goes to one of them, and that is to be one. */
  subscribe(): void {
    for (const { filter, replay: _, ...options } of this.subscriptions) {
      if (this.holds(filter)) this.host.router.subscribe(this, filter, options, true, false);
    }
  }

  deliver(message: Message, delivery: Delivery): boolean {
    if (this.isOver || message.qos === 0 || delivery.qos === 0) return true;
    message.own();
    this.held.push({ message, delivery });
    this.bytes += message.size;
    const { session_queue_messages: most, session_queue_bytes: bytesMax } = this.host.limits;
    while (this.held.length > most || this.bytes > bytesMax) this.dropOldest();
    return false;
  }

  /** The session does not come: it stays where it gets all this too. */
  release(): void {
    this.unsubscribe();
    for (let one = this.held.shift(); one !== undefined; one = this.held.shift()) {
      one.message.accept();
    }
  }

  /**
   * The session is here, and subscribed: it takes what it was not given at its old owner. `own`: what it was offered there
   * of what was published here; the session's marks tell the rest.
   */
  handOver(session: Session, own: OwnPosition): void {
    this.unsubscribe();
    this.host.counters.droppedQueueFull += this.dropped;
    for (let one = this.held.shift(); one !== undefined; one = this.held.shift()) {
      const { message, delivery } = one;
      // What it got as a group's member was for nobody else, whatever else the message was for.
      const isOwn = message.origin === null && delivery.share === null;
      const isKnown = isOwn && message.counter <= own.counter;
      if (isKnown || session.deliver(message, { ...delivery, subscriber: session })) {
        message.accept();
      }
    }
  }

  /** If the session comes, it has lost this one as it loses the oldest of its own; if not, nothing is lost. */
  private dropOldest(): void {
    const oldest = this.held.shift();
    if (oldest === undefined) return;
    this.isOverfull = true;
    this.dropped++;
    this.bytes -= oldest.message.size;
    // Not within its delivery: it is counted as waiting when that has returned.
    this.host.turn.defer(() => oldest.message.accept());
  }

  private unsubscribe(): void {
    this.isOver = true;
    for (const { filter } of this.subscriptions) {
      if (this.holds(filter)) this.host.router.unsubscribe(this, filter);
    }
  }

  private holds(filter: string): boolean {
    return this.isCertain || !isShared(filter);
  }
}
