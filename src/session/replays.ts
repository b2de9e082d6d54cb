/**
 * Retained messages on their way to a new subscription: read when it was made, sent at the pace at which
 * the client takes them.
 */
import { Ring } from "../lib/ring.js";
import type { Message } from "../routing/message.js";
import { deliveryQos } from "../routing/router.js";
import type { Delivery } from "../routing/targets.js";
import type { Channel } from "./channel.js";
import type { Session } from "./session.js";

interface Replay {
  readonly messages: readonly Message[];
  readonly delivery: Delivery;
  next: number;
}

export class Replays {
  private readonly waiting = new Ring<Replay>(4);

  add(messages: readonly Message[], delivery: Delivery): void {
    this.waiting.push({ messages, delivery, next: 0 });
  }

  /** Sends until the client or its connection has enough for now. */
  pump(session: Session, channel: Channel): void {
    for (let replay = this.waiting.peek(); replay !== undefined; replay = this.waiting.peek()) {
      const { messages, delivery } = replay;
      while (replay.next < messages.length) {
        const message = messages[replay.next] as Message; // below length
        const qos = deliveryQos(message, delivery);
        if (channel.congested || (qos > 0 && !session.window.hasRoom)) return;
        replay.next++;
        if (qos === 0) session.sendQos0(channel, message, delivery);
        else session.send(channel, message, delivery, qos);
      }
      this.waiting.shift();
    }
    session.replays = null;
  }

  /** The connection is gone: what is due at QoS 1 or 2 waits in the queue. */
  queueRest(session: Session): void {
    for (const { messages, delivery, next } of this.waiting) {
      for (let i = next; i < messages.length; i++) {
        const message = messages[i] as Message; // below length
        if (deliveryQos(message, delivery) > 0) session.enqueue(message, delivery);
      }
    }
  }
}
