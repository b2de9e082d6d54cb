/**
 * What becomes of a share group's messages when the connection or the session of the member that had them
 * ends: they go to other members [MQTT-4.8.2-4..5], never one that was sent with QoS 2.
 */
import type { Receipt } from "../cluster/ports.js";
import type { Message } from "../routing/message.js";
import type { Delivery } from "../routing/targets.js";
import type { Session } from "./session.js";
import { Awaiting } from "./window.js";

/**
 * To be called when the router knows that the session is not online (`ended`: that it is no member any
 * more). A session that goes on gives away only what a connected member gets instead.
 */
export function giveAway(session: Session, ended: boolean): void {
  const { window, queue, host } = session;
  const nowMs = host.turn.refresh();
  const takes = (message: Message, delivery: Delivery, waiter: Receipt | null): boolean => {
    const { share } = delivery;
    // One that has expired stays, and goes as such.
    if (share === null || message.hasExpired(nowMs)) return false;
    return host.router.redispatch(message, share, !ended, waiter);
  };
  for (const id of [...window.ids()]) {
    // QoS 2: it is completed with this client or not at all.
    if (window.stateOf(id) !== Awaiting.Puback) continue;
    const message = window.messageOf(id);
    const delivery = window.deliveryOf(id);
    if (message === null || delivery === null) continue;
    if (takes(message, delivery, null)) window.complete(id);
  }
  queue?.sift((message, delivery, parked) => !takes(message, delivery, parked ? message : null));
}
