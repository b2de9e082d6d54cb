/**
 * Retained messages on their way to new subscriptions, at the pace at which the client takes them. The
 * reading begins with the subscription; each message is read when it can be sent, so what has been
 * replaced or deleted meanwhile is not sent any more.
 */
import { Ring } from "../lib/ring.js";
import type { Message } from "../routing/message.js";
import { deliveryQos } from "../routing/router.js";
import type { Delivery } from "../routing/targets.js";
import type { Channel } from "./channel.js";
import type { Session } from "./session.js";

export interface Replay {
  readonly messages: Iterator<Message>;
  readonly delivery: Delivery;
}

export class Replays {
  private readonly waiting = new Ring<Replay>(4);
  /** The message that was read and could not be sent yet. */
  private next: Message | null = null;

  get length(): number {
    return this.waiting.length;
  }

  add(replay: Replay): void {
    this.waiting.push(replay);
  }

  /** Sends until all is sent (true), or the client or its connection has enough for now. */
  pump(session: Session, channel: Channel): boolean {
    for (let first = this.waiting.peek(); first !== undefined; first = this.waiting.peek()) {
      const { messages, delivery } = first;
      for (let message = this.take(messages); message !== null; message = this.take(messages)) {
        const qos = deliveryQos(message, delivery);
        if (channel.congested || (qos > 0 && !session.window.hasRoom)) {
          this.next = message;
          return false;
        }
        if (qos === 0) session.sendQos0(channel, message, delivery);
        else session.send(channel, message, delivery, qos);
      }
      this.waiting.shift();
    }
    return true;
  }

  /** The connection is gone: what is due at QoS 1 or 2 waits in the queue. */
  queueRest(session: Session): void {
    for (const { messages, delivery } of this.waiting) {
      for (let message = this.take(messages); message !== null; message = this.take(messages)) {
        if (deliveryQos(message, delivery) > 0) session.enqueue(message, delivery);
      }
    }
  }

  private take(messages: Iterator<Message>): Message | null {
    const { next } = this;
    this.next = null;
    return next ?? messages.next().value ?? null;
  }
}
