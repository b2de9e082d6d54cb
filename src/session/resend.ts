/** What was in flight when a connection was lost is sent again on the next one, in its order [MQTT-4.4.0-1, MQTT-4.6.0-1]. */
import type { Channel } from "./channel.js";
import type { Session } from "./session.js";
import { giveDenied } from "./shared.js";
import { Awaiting } from "./window.js";

/** Sends as much of it as the channel takes now. */
export function resendDue(session: Session, channel: Channel): void {
  while (!channel.congested) {
    const id = session.window.nextResend();
    if (id === 0) return;
    resend(session, channel, id);
  }
}

function resend(session: Session, channel: Channel, id: number): void {
  const { window, host } = session;
  const message = window.messageOf(id);
  const delivery = window.deliveryOf(id);
  if (message === null || delivery === null) return;
  const qos = window.stateOf(id) === Awaiting.Puback ? 1 : 2;
  if (!session.mayReceive(message.topic)) {
    if (!giveDenied(session, message, delivery, id)) session.abandon(id);
    return;
  }
  const retain = message.retain && delivery.retainAsPublished;
  // Its delivery has begun, so it is completed even if it has expired [MQTT-4.4.0-1].
  if (message.expiresMs !== 0) message.countDown(host.turn.nowMs);
  if (channel.republish(message, qos, retain, id, delivery.subscriptionIds)) {
    host.counters.resent++;
    return;
  }
  // The client takes less than it did before: as if it had been delivered [MQTT-3.1.2-25].
  host.counters.droppedTooLarge++;
  session.abandon(id);
}
