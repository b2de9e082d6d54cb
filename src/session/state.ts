/** A session as plain data, complete enough to go on with it elsewhere; it holds no connection. */
import type { Qos } from "../protocol/publish.js";
import { Message } from "../routing/message.js";
import type { Delivery, SubscriptionOptions } from "../routing/targets.js";
import type { SessionHost } from "./host.js";
import { SessionQueue } from "./queue.js";
import { replayOf } from "./replays.js";
import { Session } from "./session.js";
import type { Awaiting } from "./window.js";

export interface MessageState {
  readonly topic: string;
  readonly qos: Qos;
  readonly retain: boolean;
  readonly publisher: string;
  readonly user: string;
  /** Raw MQTT 5 properties. */
  readonly properties: Uint8Array;
  readonly payload: Uint8Array;
  /** What is left until it expires; 0: it does not, or it has expired already when negative. */
  readonly leftMs: number;
  /** How this subscriber gets it. */
  readonly grantedQos: Qos;
  readonly retainAsPublished: boolean;
  readonly subscriptionIds: readonly number[] | null;
  /** The share group whose member got it, or null. */
  readonly share: string | null;
}

export interface InFlightState {
  readonly packetId: number;
  readonly awaiting: Awaiting;
  /** Null when only PUBCOMP is awaited. */
  readonly message: MessageState | null;
}

export interface SessionState {
  readonly clientId: string;
  readonly user: string;
  readonly expiryMs: number;
  readonly subscriptions: readonly (readonly [filter: string, options: SubscriptionOptions])[];
  readonly nextPacketId: number;
  readonly inFlight: readonly InFlightState[];
  /** Packet ids that wait for PUBCOMP, in the order of their PUBRECs. */
  readonly released: readonly number[];
  readonly queue: readonly MessageState[];
  /** Filters whose retained messages were not all sent: they are sent once more. */
  readonly replays: readonly string[];
  /** Packet ids of incoming QoS 2 messages that are not released. */
  readonly openQos2: readonly number[];
}

/** The state of a session that has no connection. */
export function exportState(session: Session): SessionState {
  const { window } = session;
  const nowMs = session.host.turn.refresh();
  const inFlight: InFlightState[] = [];
  for (const packetId of window.ids()) {
    const message = window.messageOf(packetId);
    const delivery = window.deliveryOf(packetId);
    const held = message !== null && delivery !== null;
    const kept = held ? messageState(message, delivery, nowMs) : null;
    inFlight.push({ packetId, awaiting: window.stateOf(packetId), message: kept });
  }
  const queue: MessageState[] = [];
  for (const [message, delivery] of session.queue?.entries() ?? []) {
    queue.push(messageState(message, delivery, nowMs));
  }
  return {
    clientId: session.clientId,
    user: session.user,
    expiryMs: session.expiryMs,
    subscriptions: [...session.subscriptions],
    nextPacketId: window.nextId,
    inFlight,
    released: window.released(),
    queue,
    replays: session.replaying,
    openQos2: session.openQos2 === 0 ? [] : session.incoming.ids(),
  };
}

/** A session from its state, subscribed with the router. */
export function importState(state: SessionState, host: SessionHost): Session {
  const session = new Session(state.clientId, state.user, host);
  session.expiryMs = state.expiryMs;
  for (const { packetId, awaiting, message } of state.inFlight) {
    const kept = message === null ? null : messageFrom(message, host);
    const delivery = message === null ? null : deliveryFrom(message, session);
    session.window.restore(packetId, awaiting, kept, delivery);
  }
  session.window.restoreNext(state.nextPacketId);
  session.window.restoreReleased(state.released);
  if (state.queue.length > 0) {
    const { session_queue_messages: messages, session_queue_bytes: bytes } = host.limits;
    const queue = new SessionQueue({ messages, bytes });
    session.queue = queue;
    for (const one of state.queue) {
      queue.push(messageFrom(one, host), deliveryFrom(one, session));
    }
  }
  for (const packetId of state.openQos2) session.incoming.add(packetId, null);
  for (const [filter, options] of state.subscriptions) {
    session.subscribe(filter, options);
    if (state.replays.includes(filter)) session.replay(replayOf(session, filter, options));
  }
  return session;
}

function messageState(message: Message, delivery: Delivery, nowMs: number): MessageState {
  const { bytes, propertiesStart, propertiesEnd, payloadStart, payloadEnd } = message;
  return {
    topic: message.topic.name,
    qos: message.qos,
    retain: message.retain,
    publisher: message.publisher,
    user: message.user,
    properties: bytes.subarray(propertiesStart, propertiesEnd),
    payload: bytes.subarray(payloadStart, payloadEnd),
    leftMs: message.expiresMs === 0 ? 0 : message.expiresMs - nowMs || -1,
    grantedQos: delivery.qos,
    retainAsPublished: delivery.retainAsPublished,
    subscriptionIds: delivery.subscriptionIds,
    share: delivery.share,
  };
}

function messageFrom(state: MessageState, { router, turn }: SessionHost): Message {
  const bytes = Buffer.concat([state.properties, state.payload]);
  const properties = state.properties.length;
  const message = new Message(
    router.topics.internName(state.topic),
    state.qos,
    state.retain,
    state.publisher,
    bytes,
    0,
    properties,
    properties,
    bytes.length,
  );
  message.user = state.user;
  if (state.leftMs !== 0) message.expiresMs = Math.max(1, turn.nowMs + state.leftMs);
  return message;
}

function deliveryFrom(state: MessageState, subscriber: Session): Delivery {
  const { grantedQos: qos, retainAsPublished, subscriptionIds, share } = state;
  return { subscriber, qos, retainAsPublished, noLocal: false, subscriptionIds, share };
}
