/**
 * Retained messages on their way to new subscriptions, at the pace at which the client takes them and the
 * event loop has time. The reading begins with the subscription; each message is read when it can be
 * sent, so what has been replaced or deleted meanwhile is not sent any more. However much is
 * retained, a replay holds one place in the index.
 */
import { Ring } from "../lib/ring.js";
import type { RetainedEntry } from "../routing/retained-entry.js";
import type { RetainedWalk } from "../routing/retained-tree.js";
import type { Delivery, SubscriptionOptions } from "../routing/targets.js";
import type { Channel } from "./channel.js";
import type { Session } from "./session.js";

export interface Replay {
  readonly filter: string;
  readonly walk: RetainedWalk;
  readonly delivery: Delivery;
}

/** The retained messages that a subscription is due, from now on. */
export function replayOf(session: Session, filter: string, options: SubscriptionOptions): Replay {
  const { qos, subscriptionId } = options;
  const delivery = {
    subscriber: session,
    qos,
    // Sent because of the subscription, so the retain flag is set [MQTT-3.3.1-8].
    retainAsPublished: true,
    noLocal: false,
    subscriptionIds: subscriptionId === 0 ? null : [subscriptionId],
    share: null,
  };
  return { filter, walk: session.host.router.retainedFor(filter), delivery };
}

export class Replays {
  private waiting = new Ring<Replay>(4);
  /** What was found and could not be sent yet; it is read when it is. */
  private next: RetainedEntry | null = null;

  get length(): number {
    return this.waiting.length;
  }

  /** Filters in their order. */
  filters(): string[] {
    return [...this.waiting].map(({ filter }) => filter);
  }

  /** Takes the place of an earlier one of the same filter. */
  add(replay: Replay): void {
    this.keepOnly(({ filter }) => filter !== replay.filter);
    this.waiting.push(replay);
  }

  /** Ends the replay to a filter [MQTT-3.10.4-2]. */
  cancel(filter: string): void {
    this.keepOnly((replay) => replay.filter !== filter);
  }

  /** The connection is gone: like any QoS 0 message, what is due at QoS 0 ends with it. */
  detached(): void {
    this.keepOnly(({ delivery }) => delivery.qos > 0);
  }

  /** Sends until all is sent (true), or the client, its connection or this turn has enough for now. */
  pump(session: Session, channel: Channel): boolean {
    const { replayTurns } = session.host;
    let left = replayTurns.share;
    let steps = 0;
    for (let first = this.waiting.peek(); first !== undefined; first = this.waiting.peek()) {
      if (!this.mayGoOn(session, channel, first)) break;
      if (left-- === 0) {
        replayTurns.wait(session);
        break;
      }
      steps++;
      if (this.next === null && first.walk.done) {
        this.waiting.shift();
        session.noteReplay(first.filter, false);
      } else this.step(session, channel, first);
    }
    if (steps > 0) replayTurns.took(steps);
    return this.waiting.length === 0;
  }

  /** May the next be looked for, or sent if it is found? */
  private mayGoOn(session: Session, channel: Channel, { delivery }: Replay): boolean {
    if (channel.congested) return false;
    const { next } = this;
    return next === null || qosOf(next, delivery) === 0 || session.window.hasRoom;
  }

  private step(session: Session, channel: Channel, { walk, delivery }: Replay): void {
    const entry = this.next ?? walk.step();
    this.next = null;
    if (entry === null) return;
    const qos = qosOf(entry, delivery);
    if (qos > 0 && !session.window.hasRoom) {
      this.next = entry;
      return;
    }
    const { message } = entry;
    if (message === null || session.isOver(message)) return;
    if (session.access !== null && !session.access.mayReceive(message.topic)) {
      session.host.authorizer.counters.deniedRetained++;
      return;
    }
    session.host.counters.replayed++;
    if (qos === 0) session.sendQos0(channel, message, delivery);
    else session.send(channel, message, delivery, qos);
  }

  private keepOnly(kept: (replay: Replay) => boolean): void {
    const before = this.waiting;
    const first = before.peek();
    if (first !== undefined && !kept(first)) this.next = null;
    this.waiting = new Ring(4);
    for (const replay of before) if (kept(replay)) this.waiting.push(replay);
  }
}

const qosOf = (entry: RetainedEntry, delivery: Delivery): number =>
  Math.min(entry.qos, delivery.qos);
