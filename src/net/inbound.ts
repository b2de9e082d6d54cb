/**
 * The publishes that come in on one connection: decoded, checked against the limits, handed to routing, and
 * answered. One message record each, nothing else is made.
 */
import { isUtf8 } from "node:buffer";
import type { Config } from "../config/schema.js";
import { ProtocolError } from "../protocol/protocol-error.js";
import { decodePublish, PublishView } from "../protocol/publish.js";
import { ReasonCode } from "../protocol/reason-codes.js";
import { beyondTopicLimits } from "../protocol/topics.js";
import { Message, Publisher } from "../routing/message.js";
import type { Router } from "../routing/router.js";
import type { Topic } from "../routing/topic.js";
import { Acks, type AcksOwner } from "../session/acks.js";
import { opensExchange, receiveMaximumOf } from "../session/incoming-qos2.js";
import { isReservedTopic } from "../session/reserved.js";
import type { AttachedSession, RemoteSession } from "../session/remote/near.js";
import type { Session } from "../session/session.js";
import type { Turn } from "../session/turn.js";
import { aliasBytes } from "./aliases.js";
import type { NetCounters } from "./counters.js";
import type { Output } from "./output.js";

export interface InboundShare {
  readonly config: Pick<Config, "limits" | "mqtt">;
  readonly router: Pick<Router, "publish" | "topics">;
  readonly turn: Turn;
  readonly counters: NetCounters;
}

/** Packets are handled one after the other, so one view serves all connections. */
const view = new PublishView();
const mqtt5Shape = 0x100;

export class Inbound {
  private lastTopic: Topic | null = null;
  private lastReserved = false;
  private acks: Acks | null = null;
  /** The client's topic aliases. */
  private aliases: (Topic | undefined)[] | null = null;
  /** Made at the first publish. */
  private publisher: Publisher | null = null;
  /** Not every QoS may be published, or nothing retained. */
  private readonly isRestricted: boolean;
  /** QoS 1 and 2 publishes that an MQTT 5 client may have under way. */
  private readonly receiveMaximum: number;

  constructor(
    private session: AttachedSession,
    private readonly version: number,
    private readonly output: Output,
    private readonly share: InboundShare,
    private readonly owner: AcksOwner,
  ) {
    const { limits } = share.config;
    this.isRestricted = limits.max_qos < 2 || !limits.retain_available;
    this.receiveMaximum = receiveMaximumOf(limits);
  }

  /** After a halt: is enough answered to read on? */
  get mayResume(): boolean {
    const { acks } = this;
    if (acks === null) return true;
    const { receive_maximum: most, inflight_bytes: bytes } = this.share.config.limits;
    return acks.length <= most >> 1 && acks.bytes <= bytes / 2;
  }

  /**
   * Handles a PUBLISH. False: so much is unanswered that nothing more should be read for now.
   * @throws ProtocolError what `decodePublish` and `TopicTable.intern` throw; topic name invalid: beyond
   *   the limits; topic alias invalid; QoS or retain not supported; receive maximum exceeded
   *   [MQTT-3.3.4-9]
   */
  onPublish(bytes: Buffer, first: number, start: number, end: number): boolean {
    const { config, router, counters } = this.share;
    const { version } = this;
    const type = bytes[first] as number; // a whole packet is there
    decodePublish(bytes, type, start, end, version, config.limits.user_properties, view);
    if (this.isRestricted) this.checkRestrictions();
    const topic = view.topicAlias === 0 ? this.topicOf(bytes) : this.aliasedTopic(bytes);
    const message = new Message(
      topic,
      view.qos,
      view.retain,
      this.session.clientId,
      bytes,
      view.propertiesStart,
      view.propertiesEnd,
      view.payloadStart,
      view.payloadEnd,
    );
    message.user = this.session.user;
    if (!view.dup) {
      message.shape = version === 5 ? type | mqtt5Shape : type;
      message.frameStart = first;
      this.publisher ??= new Publisher(this.session.clientId, this.session.user, version);
      message.via = this.publisher;
    }
    if (view.propertiesEnd > view.propertiesStart) this.applyProperties(message);
    if (view.qos !== 0) return this.onNumbered(message, view.packetId, view.qos);
    counters.receivedQos0++;
    if (this.lastReserved) counters.ignoredReserved++;
    else if (!this.isDenied(message)) router.publish(message);
    return true;
  }

  /** The client's oldest publish that is not answered; null: all are. */
  get oldestUnanswered(): object | null {
    return this.acks?.oldest ?? null;
  }

  get hasWithheld(): boolean {
    return this.acks?.hasWithheld ?? false;
  }

  /** The session has moved, and this is what the connection has in place of it. */
  goOn(session: AttachedSession): void {
    this.session = session;
    this.acks?.goOn(session);
  }

  /** The connection is gone. */
  close(): void {
    this.acks?.close();
  }

  /** The topic that the view points at; a client often publishes to the same one again. */
  private topicOf(bytes: Buffer): Topic {
    const { topicStart, topicEnd } = view;
    const last = this.lastTopic;
    if (last?.is(bytes, topicStart, topicEnd)) return last;
    const { topic_bytes: bytesMax, topic_levels: levelsMax } = this.share.config.limits;
    if (beyondTopicLimits(bytes, topicStart, topicEnd, bytesMax, levelsMax)) {
      throw new ProtocolError(ReasonCode.TopicNameInvalid);
    }
    const topic = this.share.router.topics.intern(bytes, topicStart, topicEnd);
    this.lastTopic = topic;
    this.lastReserved = isReservedTopic(topic.name);
    return topic;
  }

  /** [MQTT-3.2.2-11, MQTT-3.2.2-14] */
  private checkRestrictions(): void {
    const { max_qos: qosMax, retain_available: retainAvailable } = this.share.config.limits;
    if (view.qos > qosMax) throw new ProtocolError(ReasonCode.QosNotSupported);
    if (view.retain && !retainAvailable) throw new ProtocolError(ReasonCode.RetainNotSupported);
  }

  /** The topic of a PUBLISH with an alias: the one that the alias stands for, or its new one. */
  private aliasedTopic(bytes: Buffer): Topic {
    const { topicAlias } = view;
    // [MQTT-3.3.2-9]
    if (topicAlias > this.share.config.limits.topic_aliases) {
      throw new ProtocolError(ReasonCode.TopicAliasInvalid);
    }
    this.aliases ??= [];
    if (view.topicEnd > view.topicStart) {
      const topic = this.topicOf(bytes);
      this.aliases[topicAlias] = topic;
      return topic;
    }
    const topic = this.aliases[topicAlias];
    if (topic === undefined) throw new ProtocolError(ReasonCode.ProtocolError, "alias of nothing");
    if (topic !== this.lastTopic) {
      this.lastTopic = topic;
      this.lastReserved = isReservedTopic(topic.name);
    }
    return topic;
  }

  /** Those properties that concern the broker itself. */
  private applyProperties(message: Message): void {
    const { config, turn } = this.share;
    if (view.expirySeconds !== -1) message.expireIn(view.expirySeconds, turn.nowMs);
    if (view.topicAlias !== 0) dropAlias(message);
    if (!view.payloadIsText || !config.mqtt.check_payload_format) return;
    const { bytes, payloadStart, payloadEnd } = message;
    if (isUtf8(bytes.subarray(payloadStart, payloadEnd))) return;
    if (view.qos === 0) throw new ProtocolError(ReasonCode.PayloadFormatInvalid);
    message.refused = ReasonCode.PayloadFormatInvalid;
  }

  /** A QoS 1 or 2 publish, which is to be answered. */
  private onNumbered(message: Message, packetId: number, qos: number): boolean {
    const { counters, config, router } = this.share;
    const { session } = this;
    const { receive_maximum: most, inflight_bytes: bytesMax } = config.limits;
    this.acks ??= new Acks(session, this.output, this.version, counters, this.owner);
    const { acks } = this;
    if (this.version === 5) {
      const underWay = acks.qos1 + session.freshQos2;
      if (underWay >= this.receiveMaximum || acks.length >= most) {
        throw new ProtocolError(ReasonCode.ReceiveMaximumExceeded);
      }
    }
    message.packetId = packetId;
    message.sink = acks;
    if (qos === 1) counters.receivedQos1++;
    else if (session.isRemote) return this.passOn(session, message);
    else if (!this.opens(session, message, acks)) return true;
    if (this.lastReserved) {
      counters.ignoredReserved++;
      message.matched = 1;
      if (this.version === 5) message.refused = ReasonCode.NotAuthorized;
    } else if (message.refused === 0 && !this.isDenied(message)) {
      if (qos === 2 && !session.isRemote && session.journal !== null) {
        session.journal.publish(message);
      } else router.publish(message);
    }
    acks.published(message);
    if (acks.length === 0) return true;
    if (qos === 2 && message.pending > 0 && !session.isRemote) {
      session.incoming.add(packetId, message);
    }
    return (this.version === 5 || acks.length < most) && acks.bytes < bytesMax;
  }

  /** A QoS 2 publish belongs to the session, which is at another node and answers it. */
  private passOn(session: RemoteSession, message: Message): boolean {
    const { counters } = this.share;
    counters.receivedQos2++;
    if (this.lastReserved) {
      counters.ignoredReserved++;
      if (this.version === 5) message.refused = ReasonCode.NotAuthorized;
      else message.matched = 1;
    } else if (message.refused === 0) this.isDenied(message);
    session.publish(message, message.packetId, view.dup, message.matched > 0);
    return !session.backlogged;
  }

  /**
   * Is the client not allowed to publish on this topic? MQTT 5 hears so where there is an answer; MQTT 3 has no
   * word for it, so the message is acknowledged and goes nowhere, as with mosquitto [MQTT-3.3.5-2]. Asked once of
   * each message, right before it is published.
   */
  protected isDenied(message: Message): boolean {
    const { access } = this.session;
    if (access === null || access.mayPublish(message.topic)) return false;
    this.session.host.authorizer.counters.deniedPublishes++;
    if (this.version === 5) message.refused = ReasonCode.NotAuthorized;
    else message.matched = 1;
    return true;
  }

  /** Is it the first PUBLISH of its packet id? Another one only gets its PUBREC again. */
  private opens(session: Session, message: Message, acks: Acks): boolean {
    const { counters, config } = this.share;
    const isFirst = opensExchange(
      session.incoming,
      message,
      acks,
      config.limits.open_qos2,
      this.version,
    );
    if (isFirst) counters.receivedQos2++;
    else counters.receivedQos2Again++;
    return isFirst;
  }
}

/** An alias is between the client and us: takes it out of the properties that are passed on. */
function dropAlias(message: Message): void {
  const at = view.topicAliasAt;
  message.shape = 0;
  if (at === message.propertiesStart) message.propertiesStart += aliasBytes;
  else if (at + aliasBytes === message.propertiesEnd) message.propertiesEnd -= aliasBytes;
  else {
    const { bytes, propertiesStart, propertiesEnd, payloadStart, payloadEnd } = message;
    const before = bytes.subarray(propertiesStart, at);
    const after = bytes.subarray(at + aliasBytes, propertiesEnd);
    message.bytes = Buffer.concat([before, after, bytes.subarray(payloadStart, payloadEnd)]);
    message.propertiesStart = 0;
    message.propertiesEnd = message.payloadStart = before.length + after.length;
    message.payloadEnd = message.bytes.length;
  }
}
