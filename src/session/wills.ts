/** The message that a will becomes. */
import { Message } from "../routing/message.js";
import { isReservedTopic } from "./reserved.js";
import type { SessionHost } from "./host.js";
import { Session } from "./session.js";
import type { HeldWill } from "./will-record.js";

/**
 * The message of the session's will, which the session has no more then [MQTT-3.1.2-10]. Null: it may not be published,
 * as its topic is the node's own, or the client may not publish to it any more.
 */
export function willMessage(session: Session): Message | null {
  const { will, host } = session;
  session.will = null;
  session.willDueMs = Number.POSITIVE_INFINITY;
  if (will === null || isReservedTopic(will.topic)) return null;
  const topic = host.router.topics.internName(will.topic);
  if (session.access !== null && !session.access.mayPublish(topic)) {
    host.authorizer.counters.deniedWillsDue++;
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
  return message;
}

/** A session to publish the will of a client that has none here. */
export function standIn(
  host: SessionHost,
  { clientId, user, rules, will, epoch }: HeldWill,
): Session {
  const session = new Session(clientId, user, host);
  session.will = will;
  session.epoch = epoch;
  session.access = host.authorizer.accessOf({ clientId, user, rules });
  return session;
}
