/** Wills: published for a client whose connection ended without a DISCONNECT that says otherwise. */
import { Message } from "../routing/message.js";
import { isReservedTopic } from "./reserved.js";
import type { Session } from "./session.js";

/**
 * Publishes the session's will and forgets it [MQTT-3.1.2-8, MQTT-3.1.2-10]. Returns the message, whose `pending`
 * tells whether it is accepted; null: there was none, its topic is the node's own, or the client may not
 * publish to it any more.
 */
export function publishWill(session: Session): Message | null {
  const { will, host } = session;
  session.will = null;
  session.willDueMs = Number.POSITIVE_INFINITY;
  const { wills } = host;
  if (will === null || isReservedTopic(will.topic)) {
    wills?.drop(session.clientId);
    return null;
  }
  const topic = host.router.topics.internName(will.topic);
  if (session.access !== null && !session.access.mayPublish(topic)) {
    host.authorizer.counters.deniedWillsDue++;
    wills?.drop(session.clientId);
    return null;
  }
  const properties = will.properties?.length ?? 0;
  const bytes = will.properties ? Buffer.concat([will.properties, will.payload]) : will.payload;
  const message = new Message(
    topic,
    will.qos,
    will.retain,
    session.clientId,
    bytes,
    0,
    properties,
    properties,
    bytes.length,
  );
  message.user = session.user;
  // Its life begins when it is published.
  if (will.expirySeconds !== undefined) message.expireIn(will.expirySeconds, host.turn.refresh());
  if (wills === null) host.router.publish(message);
  else wills.fire(message);
  host.counters.willsPublished++;
  return message;
}
