/**
 * The far end of a channel: in place of a connection, what a session has whose client is connected to another node. Packets
 * for the client are made here and pass through there as they are. What is under way in either direction is
 * bounded by the window of who receives it: beyond, QoS 0 is dropped as with a slow connection, and all else waits.
 */
import type { ChannelLink } from "../../cluster/channels.js";
import { WireError } from "../../cluster/wire/frames.js";
import { AckType, ackBytesMax, writeAck } from "../../protocol/acks.js";
import { ProtocolError } from "../../protocol/protocol-error.js";
import {
  headerBytes,
  publishRemaining,
  publishShape,
  type Qos,
  uint16,
  writePublishHead,
  dupFlag,
} from "../../protocol/publish.js";
import { ReasonCode } from "../../protocol/reason-codes.js";
import type { Message } from "../../routing/message.js";
import { Acks, type AcksOwner } from "../acks.js";
import type { Channel, ChannelInfo } from "../channel.js";
import { subscribe } from "../handlers/subscribe.js";
import { unsubscribe } from "../handlers/unsubscribe.js";
import type { SessionHost } from "../host.js";
import { opensExchange } from "../incoming-qos2.js";
import type { Session } from "../session.js";
import type { AttachRecord } from "./attach-record.js";
import {
  ackRecordBytes,
  decodeSubscribe,
  decodeUnsubscribe,
  deliveryBytes,
  detachBytes,
  encodeMoved,
  Kind,
  readPublish,
  requestCost,
  WillDue,
  writeDelivery,
} from "./records.js";

/** What all far ends of a node share. */
export interface FarHost {
  readonly sessions: SessionHost;
  readonly counters: { publishesRefused: number; readonly bugs: number };
  /** What may be under way to a session here without a credit. */
  readonly window: number;
  /** The client is gone: the session goes on without it, or ends. `forServer`: its node closed it for its own sake. */
  detach(far: RemoteChannel, session: Session, willDue: boolean, forServer: boolean): void;
  /** Calls back when what `detach` meant for the session is durable and its will accepted. */
  whenDetached(session: Session, done: () => void): void;
  /** Does the session that it had live on here? */
  isKept(session: Session): boolean;
  /** For the first time a publish was refused that this client cannot be told of. */
  onWithheld(): void;
  onBug(far: RemoteChannel, error: unknown): void;
  /** Nothing comes or goes over it any more. */
  onOver(far: RemoteChannel): void;
}

export class RemoteChannel implements Channel, AcksOwner {
  isOpen = true;
  session: Session | null = null;
  readonly version: number;
  private isSilent = false;
  /** Bytes sent and not yet credited. */
  private uncredited = 0;
  /** Cost of what was received and not yet credited, and of requests in it that are not answered. */
  private owed = 0;
  private readonly unanswered: number[] = [];
  private acks: Acks | null = null;
  private readonly packetMax: number;
  /** Its connection was told to wait, and has not said that it does. */
  private onHeld: (() => void) | null = null;

  constructor(
    readonly link: ChannelLink,
    readonly number: number,
    readonly record: AttachRecord,
    private readonly far: FarHost,
  ) {
    this.version = record.version;
    this.packetMax = record.packetMax === 0 ? Number.POSITIVE_INFINITY : record.packetMax;
  }

  /** The node where the connection is. */
  get node(): string {
    return this.link.node;
  }

  get congested(): boolean {
    return this.isSilent || this.uncredited >= this.record.window || this.link.isFull;
  }

  silence(isSilent: boolean): void {
    this.isSilent = isSilent;
    if (!isSilent) this.session?.pump();
  }

  /** What its client waits for the longest; null: nothing. */
  get oldestUnanswered(): object | null {
    const { session } = this;
    return session === null ? this : (this.acks?.oldest ?? session.oldestReply);
  }

  get hasWithheld(): boolean {
    return this.acks?.hasWithheld ?? false;
  }

  /** The store took nothing for too long. */
  closeStalled(): void {
    if (this.session === null) this.refuse(ReasonCode.ServerUnavailable);
    else this.close(ReasonCode.QuotaExceeded);
  }

  info(): ChannelInfo {
    const { address, version, keepAliveSeconds, connectedAtMs } = this.record;
    const { packetMax, uncredited: waitingBytes } = this;
    const { takesMessages } = this.record;
    const client = { address, version, keepAliveSeconds, connectedAtMs };
    return { ...client, waitingBytes, packetMax, takesMessages };
  }

  /** The session is this channel's: the connection may greet its client. */
  attached(session: Session): void {
    this.session = session;
    const at = this.link.room(this.number, Kind.attached, 4, false);
    this.link.bytes.writeUInt32BE(this.far.window, at);
  }

  /** There is no session to be had; `reason` as in `ConnectOutcome`, or `noSession` or `movedReason`. */
  refuse(reason: number): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    const at = this.link.room(this.number, Kind.refused, 2, false);
    this.link.bytes.writeInt16BE(reason, at);
    this.far.onOver(this);
  }

  publish(
    message: Message,
    qos: Qos,
    retain: boolean,
    packetId: number,
    ids: readonly number[] | null,
  ): boolean {
    if (this.record.takesMessages) return this.deliver(message, qos, retain, false, packetId, ids);
    if (ids !== null || message.shape !== publishShape(this.version, qos, retain)) {
      return this.encode(message, qos, retain, false, packetId, ids);
    }
    const { bytes, frameStart: start, payloadEnd: end } = message;
    const length = end - start;
    if (length > this.packetMax) return false;
    const at = this.room(length);
    const out = this.link.bytes;
    out.set(new Uint8Array(bytes.buffer, bytes.byteOffset + start, length), at);
    if (packetId === 0) return true;
    let next = at + 1;
    while ((out[next] as number) >= 0x80) next++; // a whole packet is there
    next += 1 + 2 + uint16(out, next + 1);
    out[next] = packetId >> 8;
    out[next + 1] = packetId & 0xff;
    return true;
  }

  republish(
    message: Message,
    qos: Qos,
    retain: boolean,
    packetId: number,
    ids: readonly number[] | null,
  ): boolean {
    if (this.record.takesMessages) return this.deliver(message, qos, retain, true, packetId, ids);
    return this.encode(message, qos, retain, true, packetId, ids);
  }

  acknowledge(type: AckType, packetId: number, reason: number): void {
    if (!this.isOpen) return;
    if (type === AckType.Pubrec && reason >= 0x80) {
      const at = this.link.room(this.number, Kind.settled, 2, true);
      this.link.bytes.writeUInt16BE(packetId, at);
    }
    const told = this.version === 5 ? reason : 0;
    const length = told === 0 ? ackBytesMax - 1 : ackBytesMax;
    const at = this.room(length);
    writeAck(this.link.bytes, at, type, packetId, told);
  }

  /** An answer to a SUBSCRIBE or UNSUBSCRIBE, which are answered in their order. */
  send(packet: Buffer): void {
    this.unanswered.shift();
    if (packet.length <= this.packetMax) this.passOn(packet, 0, packet.length);
    this.giveCredit();
  }

  passOn(bytes: Buffer, start: number, end: number): void {
    const at = this.room(end - start);
    bytes.copy(this.link.bytes, at, start, end);
  }

  readOn(): void {
    this.giveCredit();
  }

  hold(done: () => void): void {
    if (!this.isOpen) return;
    this.onHeld = done;
    this.link.room(this.number, Kind.hold, 0, false);
  }

  release(): void {
    this.onHeld = null;
    if (this.isOpen) this.link.room(this.number, Kind.release, 0, false);
  }

  moved(node: string, epoch: number): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.acks?.close();
    this.far.onOver(this);
    const record = encodeMoved(node, epoch);
    const at = this.link.room(this.number, Kind.moved, record.length, false);
    this.link.bytes.set(record, at);
  }

  close(reason: number): void {
    const { session } = this;
    if (!this.isOpen) return;
    this.end(true);
    const kept = session !== null && this.far.isKept(session);
    const at = this.link.room(this.number, Kind.close, 2, false);
    this.link.bytes[at] = reason;
    this.link.bytes[at + 1] = kept ? 1 : 0;
  }

  /** The link is gone. */
  onLost(): void {
    this.end(true);
  }

  /** The link takes output again. */
  onRelieved(): void {
    if (!this.congested) this.session?.pump();
  }

  onAnswered(): void {
    this.giveCredit();
  }

  onWithheld(): void {
    this.far.onWithheld();
  }

  /**
   * What the near end says. A client's mistake ends this channel only.
   * @throws WireError when the bytes make no sense
   */
  onEntry(kind: number, bytes: Buffer, start: number, end: number): void {
    const { session } = this;
    if (session === null || !this.isOpen) return;
    try {
      this.handle(session, kind, bytes, start, end);
      this.giveCredit();
    } catch (error) {
      if (error instanceof WireError) throw error;
      if (!(error instanceof ProtocolError)) this.far.onBug(this, error);
      this.close(error instanceof ProtocolError ? error.reason : ReasonCode.UnspecifiedError);
    }
  }

  private handle(session: Session, kind: number, bytes: Buffer, start: number, end: number): void {
    switch (kind) {
      case Kind.acks:
        this.owed += end - start;
        this.onAcks(session, bytes, start, end);
        return;
      case Kind.publish:
        this.owed += end - start;
        this.onPublish(session, bytes, start, end);
        return;
      case Kind.credit:
        this.onCredit(session, bytes, start, end);
        return;
      case Kind.subscribe:
        this.onRequest(end - start);
        subscribe(session, this, decodeSubscribe(bytes, start, end));
        return;
      case Kind.unsubscribe:
        this.onRequest(end - start);
        unsubscribe(session, this, decodeUnsubscribe(bytes, start, end));
        return;
      case Kind.skip:
        this.owed += end - start;
        for (let at = start; at + 2 <= end; at += 2) session.onSkipped(bytes.readUInt16BE(at));
        return;
      case Kind.held:
        this.onHeld?.();
        this.onHeld = null;
        return;
      case Kind.detach:
        if (end - start !== detachBytes) throw new WireError("channel: detach");
        this.onDetach(session, bytes[start] ?? 0, bytes.readDoubleBE(start + 1));
        return;
      default:
        throw new WireError(`channel: kind ${kind}`);
    }
  }

  private onAcks(session: Session, bytes: Buffer, start: number, end: number): void {
    for (let at = start; at + ackRecordBytes <= end && this.isOpen; at += ackRecordBytes) {
      const packetId = uint16(bytes, at + 2);
      const reason = bytes[at + 1] as number; // a whole record is there
      switch (bytes[at]) {
        case AckType.Puback:
          session.onPuback(packetId);
          break;
        case AckType.Pubrec:
          session.onPubrec(packetId, reason);
          break;
        case AckType.Pubrel:
          session.onPubrel(packetId);
          break;
        case AckType.Pubcomp:
          session.onPubcomp(packetId);
          break;
        default:
          throw new WireError("channel: acknowledgement");
      }
    }
  }

  /** A QoS 2 publish of the client: what net/inbound.ts does with one of a connection here. */
  private onPublish(session: Session, bytes: Buffer, start: number, end: number): void {
    const { host, clientId } = session;
    const { router, limits, turn } = host;
    const nowMs = turn.nowMs;
    const carried = readPublish(bytes, start, end, clientId, router.topics, nowMs);
    const { message, packetId, ignored } = carried;
    this.acks ??= new Acks(session, this, this.version, this.far.counters, this);
    const { acks } = this;
    message.user = session.user;
    message.sink = acks;
    const { incoming, journal } = session;
    if (!opensExchange(incoming, message, acks, limits.open_qos2, this.version)) return;
    if (ignored) message.matched = 1;
    else if (message.refused === 0 && journal !== null) journal.publish(message);
    else if (message.refused === 0) router.publish(message);
    acks.published(message);
    if (acks.length > 0 && message.pending > 0) incoming.add(packetId, message);
  }

  private onCredit(session: Session, bytes: Buffer, start: number, end: number): void {
    if (end - start !== 4) throw new WireError("channel: credit");
    const wasCongested = this.congested;
    this.uncredited = Math.max(0, this.uncredited - bytes.readUInt32BE(start));
    if (wasCongested && !this.congested) session.pump();
  }

  private onRequest(bytes: number): void {
    const cost = requestCost(bytes, this.far.window);
    this.owed += cost;
    this.unanswered.push(cost);
  }

  private onDetach(session: Session, willDue: number, expiryMs: number): void {
    if (!Number.isFinite(expiryMs) || expiryMs < 0) throw new WireError("channel: expiry");
    session.expiryMs = expiryMs;
    this.end(willDue !== WillDue.not, willDue === WillDue.later);
    this.far.whenDetached(session, () => {
      const at = this.link.room(this.number, Kind.detached, 1, false);
      this.link.bytes[at] = this.far.isKept(session) ? 1 : 0;
    });
  }

  private end(willDue: boolean, forServer = false): void {
    const { session } = this;
    if (!this.isOpen) return;
    this.isOpen = false;
    this.acks?.close();
    this.far.onOver(this);
    if (session !== null) this.far.detach(this, session, willDue, forServer);
  }

  /** The near end may send more: of all that came, what is answered does not count any more. */
  private giveCredit(): void {
    const { session, far } = this;
    if (!this.isOpen || session === null || session.backlogged) return;
    let held = this.acks?.bytes ?? 0;
    for (const cost of this.unanswered) held += cost;
    const due = this.owed - held;
    if (due < far.window / 4) return;
    const at = this.link.room(this.number, Kind.farCredit, 4, false);
    this.link.bytes.writeUInt32BE(due, at);
    this.owed -= due;
  }

  private deliver(
    message: Message,
    qos: Qos,
    retain: boolean,
    dup: boolean,
    packetId: number,
    ids: readonly number[] | null,
  ): boolean {
    const delivery = { message, qos, retain, dup, packetId, ids };
    const length = deliveryBytes(delivery);
    const at = this.link.room(this.number, Kind.message, length, false);
    this.uncredited += length;
    writeDelivery({ bytes: this.link.bytes, at }, delivery);
    return true;
  }

  private encode(
    message: Message,
    qos: Qos,
    retain: boolean,
    dup: boolean,
    packetId: number,
    ids: readonly number[] | null,
  ): boolean {
    const { version } = this;
    const { topic, bytes, propertiesStart, propertiesEnd, payloadStart, payloadEnd } = message;
    const properties = propertiesEnd - propertiesStart;
    const { payloadLength } = message;
    const name = topic.bytes;
    const remaining = publishRemaining(name.length, qos, version, properties, ids, payloadLength);
    const length = headerBytes(remaining) + remaining;
    if (length > this.packetMax) return false;
    const at = this.room(length);
    const out = this.link.bytes;
    const first = (publishShape(version, qos, retain) & 0xff) | (dup ? dupFlag : 0);
    const payloadAt = writePublishHead(
      ...([out, at, first, remaining, name, packetId, version] as const),
      ...([bytes, propertiesStart, propertiesEnd, ids] as const),
    );
    bytes.copy(out, payloadAt, payloadStart, payloadEnd);
    return true;
  }

  /** Room for whole packets to the client. */
  private room(length: number): number {
    this.uncredited += length;
    return this.link.room(this.number, Kind.packets, length, true);
  }
}
