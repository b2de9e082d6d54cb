/** SUBSCRIBE: each filter is granted or refused on its own; SUBACK waits until the peers know. */
import type { Config } from "../../config/schema.js";
import {
  encodeSuback,
  type SubscribePacket,
  type SubscribeRequest,
} from "../../protocol/packets.js";
import type { Qos } from "../../protocol/publish.js";
import { ReasonCode } from "../../protocol/reason-codes.js";
import { isShared, plainFilter, textBeyondTopicLimits } from "../../protocol/topics.js";
import type { Channel } from "../channel.js";
import { type Replay, replayOf } from "../replays.js";
import type { Session } from "../session.js";

/** Subscribes and answers. Retained messages are sent after SUBACK. */
export function subscribe(session: Session, channel: Channel, packet: SubscribePacket): void {
  const { host } = session;
  const codes: number[] = [];
  // By filter: one that a packet names twice is replayed once.
  const replays = new Map<string, Replay>();
  for (const request of packet.requests) {
    const refusal = refusalOf(session, request.filter, host.limits);
    if (refusal !== 0) {
      host.counters.subscriptionsRefused++;
      codes.push(refusal);
      continue;
    }
    // [MQTT-3.2.2-10]
    const qos = Math.min(request.qos, host.limits.max_qos) as Qos; // one of two that are
    codes.push(qos);
    const replay = subscribeOne(session, { ...request, qos }, packet.subscriptionId);
    if (replay !== null) replays.set(request.filter, replay);
  }
  host.superseded?.subscribing(session);
  const answer = (): void => {
    if (session.channel !== channel) return;
    channel.send(encodeSuback(channel.version, packet.packetId, codes));
    for (const [filter, replay] of replays) {
      if (session.subscriptions.has(filter)) session.replay(replay);
    }
    if (replays.size > 0) session.pump();
  };
  // The rows of peers and the commit, whichever is later.
  session.reply(answer, (ready) => {
    if (codes.every((code) => code >= ReasonCode.UnspecifiedError)) ready();
    else session.whenDurable(() => host.router.whenSynced(() => settle(session, ready)));
  });
}

function settle(session: Session, ready: () => void): void {
  const { superseded } = session.host;
  if (superseded === null) ready();
  else superseded.subscribed(session, ready);
}

function refusalOf(session: Session, filter: string, limits: Config["limits"]): number {
  if (textBeyondTopicLimits(plainFilter(filter), limits.topic_bytes, limits.topic_levels)) {
    return ReasonCode.TopicFilterInvalid;
  }
  if (Buffer.byteLength(filter) > limits.topic_bytes) {
    return ReasonCode.TopicFilterInvalid;
  }
  const { subscriptions, access } = session;
  if (access !== null && !access.maySubscribe(plainFilter(filter))) {
    session.host.authorizer.counters.deniedSubscriptions++;
    return ReasonCode.NotAuthorized;
  }
  // It would be answered when the store takes it, nobody knows when.
  if (session.isStalled) return ReasonCode.QuotaExceeded;
  const full = subscriptions.size >= limits.filters_per_client && !subscriptions.has(filter);
  return full ? ReasonCode.QuotaExceeded : 0;
}

function subscribeOne(
  session: Session,
  request: SubscribeRequest,
  subscriptionId: number,
): Replay | null {
  const { filter, qos, noLocal, retainAsPublished, retainHandling } = request;
  const isNew = !session.subscriptions.has(filter);
  const options = { qos, noLocal, retainAsPublished, subscriptionId };
  session.subscribe(filter, options);
  // A group gets what is published from now on.
  if (isShared(filter) || !session.host.limits.retain_available) return null;
  if (retainHandling === 2 || (retainHandling === 1 && !isNew)) return null; // [MQTT-3.3.1-10..11]
  const replay = replayOf(session, filter, options);
  if (qos > 0 && !replay.walk.done) session.noteReplay(filter, true);
  return replay;
}
