/**
 * The near end of a channel: what a connection at this node has in place of its session, which lives at another. It passes
 * on what the client says about the session and hands the connection what the session sends; it knows nothing of
 * subscriptions, windows or queues. What is under way in either direction is bounded by the window of who receives it.
 */
import type { Access } from "../../auth/acl/access.js";
import type { ChannelLink } from "../../cluster/channels.js";
import { WireError } from "../../cluster/wire/frames.js";
import { AckType } from "../../protocol/acks.js";
import type { SubscribePacket, UnsubscribePacket } from "../../protocol/packets.js";
import { ReasonCode } from "../../protocol/reason-codes.js";
import type { Message } from "../../routing/message.js";
import type { Channel } from "../channel.js";
import type { SessionHost } from "../host.js";
import type { Opening } from "../opening.js";
import type { Session } from "../session.js";
import {
  ackRecordBytes,
  decodeMoved,
  detachBytes,
  encodeSubscribe,
  encodeUnsubscribe,
  Kind,
  publishBytes,
  readDelivery,
  requestCost,
  WillDue,
  writePublish,
} from "./records.js";

/** What a connection has: its session, or the near end of a channel to it. */
export type AttachedSession = Session | RemoteSession;

/** How the session's node answered. */
export type AttachAnswer =
  | { readonly kind: "attached" }
  /** `reason` as in `ConnectOutcome`, or `noSession`. */
  | { readonly kind: "refused"; readonly reason: number }
  /** The session has moved to another node. */
  | { readonly kind: "moved" }
  /** The link is gone. */
  | { readonly kind: "lost" };

/** What all near ends of a node share. */
export interface NearHost {
  readonly sessions: SessionHost;
  /** What may be under way to a connection here without a credit. */
  readonly window: number;
  onAnswer(near: RemoteSession, answer: AttachAnswer): void;
  /** The session has moved, and this end of the channel is no more. */
  onMoved(near: RemoteSession): void;
  /** The channel is over and the session's node knows it, or cannot be asked. */
  onOver(near: RemoteSession): void;
}

type State = "attaching" | "attached" | "detaching" | "over";

export class RemoteSession {
  expiryMs: number;
  private state: State = "attaching";
  /** The session is about to move: nothing more goes to it. */
  private isHeld = false;
  /** Bytes sent and not yet credited, and how many may be. */
  private uncredited = 0;
  private farWindow = 0;
  /** Bytes received and not yet credited. */
  private owed = 0;
  /** Packet ids of QoS 2 publishes of an MQTT 5 client on this connection, until PUBREL. */
  private readonly openIds: Set<number> | null;
  private kept: boolean | null = null;
  private readonly waiting: (() => void)[] = [];

  constructor(
    readonly opening: Opening,
    readonly link: ChannelLink,
    readonly number: number,
    private readonly near: NearHost,
  ) {
    this.expiryMs = opening.request.expiryMs;
    this.openIds = opening.channel.version === 5 ? new Set(opening.continues) : null;
  }

  get isRemote(): true {
    return true;
  }

  get clientId(): string {
    return this.opening.request.clientId;
  }

  get user(): string {
    return this.opening.request.user;
  }

  get access(): Access | null {
    return this.opening.request.access;
  }

  get epoch(): number {
    return this.opening.epoch;
  }

  get channel(): Channel {
    return this.opening.channel;
  }

  get host(): SessionHost {
    return this.near.sessions;
  }

  /** The node where the session is. */
  get node(): string {
    return this.link.node;
  }

  /** Where the session lives on after the channel is over, as far as is known; null: nowhere. */
  get sessionAt(): string | null {
    return this.kept === false ? null : this.node;
  }

  /** The connection has it, or had it and the session's node does not know yet that it is gone. */
  get isAttached(): boolean {
    if (this.state === "attaching") return this.opening.continues !== undefined;
    return this.state !== "over";
  }

  get persistent(): boolean {
    return this.expiryMs > 0;
  }

  /** So much is under way to the session that the client should not be read for now. */
  get backlogged(): boolean {
    return this.uncredited >= this.farWindow || this.isHeld;
  }

  /** Its node looks after what waits there. */
  get oldestReply(): null {
    return null;
  }

  get freshQos2(): number {
    return this.openIds === null ? 0 : this.openIds.size;
  }

  freshIds(): Iterable<number> {
    return this.openIds ?? [];
  }

  onPuback(packetId: number): void {
    this.passOn(AckType.Puback, packetId, 0);
  }

  onPubrec(packetId: number, reason: number): void {
    this.passOn(AckType.Pubrec, packetId, reason);
  }

  onPubrel(packetId: number): void {
    this.openIds?.delete(packetId);
    this.passOn(AckType.Pubrel, packetId, 0);
  }

  onPubcomp(packetId: number): void {
    this.passOn(AckType.Pubcomp, packetId, 0);
  }

  /** A QoS 2 publish, checked and refused or not: its session answers it. `ignored`: it goes nowhere. */
  publish(message: Message, packetId: number, dup: boolean, ignored: boolean): void {
    this.openIds?.add(packetId);
    const length = publishBytes(message);
    const at = this.room(Kind.publish, length, false);
    const target = { bytes: this.link.bytes, at };
    const carried = { message, packetId, dup, ignored };
    writePublish(target, carried, this.host.turn.nowMs);
  }

  /** Its PUBREC comes from the session's node. */
  settleQos2(): void {}

  subscribe(packet: SubscribePacket): void {
    this.request(Kind.subscribe, encodeSubscribe(packet));
  }

  unsubscribe(packet: UnsubscribePacket): void {
    this.request(Kind.unsubscribe, encodeUnsubscribe(packet));
  }

  /** The client takes what it is sent. */
  pump(): void {
    this.giveCredit();
  }

  /** Calls back when the session's node has done what the end of the connection asks for, or cannot be asked. */
  whenDurable(done: () => void): void {
    if (this.state === "over") done();
    else this.waiting.push(done);
  }

  /** The connection is closed. `forServer`: by this node, for its own sake. */
  detach(willDue: boolean, forServer = false): void {
    if (this.state === "over") {
      this.near.onOver(this);
      return;
    }
    if (this.state !== "attached") return;
    const at = this.room(Kind.detach, detachBytes, false);
    this.link.bytes[at] = willDue ? (forServer ? WillDue.later : WillDue.now) : WillDue.not;
    this.link.bytes.writeDoubleBE(this.expiryMs, at + 1);
    this.state = "detaching";
  }

  /** The link is gone, and with it what was under way. */
  onLost(): void {
    const { state } = this;
    if (state === "attaching") this.answer({ kind: "lost" });
    else this.end(null, ReasonCode.UseAnotherServer);
  }

  /** @throws WireError when the bytes make no sense */
  onEntry(kind: number, bytes: Buffer, start: number, end: number): void {
    switch (kind) {
      case Kind.packets:
        if (this.state === "attached") this.channel.passOn(bytes, start, end);
        this.receive(end - start);
        return;
      case Kind.message:
        this.onMessage(bytes, start, end);
        this.receive(end - start);
        return;
      case Kind.farCredit:
        this.onCredit(bytes, start, end);
        return;
      case Kind.settled:
        for (let at = start; at + 2 <= end; at += 2) this.openIds?.delete(bytes.readUInt16BE(at));
        return;
      case Kind.attached:
        if (end - start !== 4) throw new WireError("channel: attached");
        this.farWindow = bytes.readUInt32BE(start);
        this.answer({ kind: "attached" });
        return;
      case Kind.refused:
        if (end - start !== 2) throw new WireError("channel: refused");
        this.onRefused(bytes.readInt16BE(start));
        return;
      case Kind.close:
        if (end - start !== 2) throw new WireError("channel: close");
        this.end(bytes[start + 1] === 1, bytes[start] as number); // two bytes
        return;
      case Kind.hold:
        this.onHold();
        return;
      case Kind.release:
        this.isHeld = false;
        if (this.state === "attached") this.channel.release();
        return;
      case Kind.moved:
        this.onMoved(bytes, start, end);
        return;
      case Kind.detached:
        if (end - start !== 1) throw new WireError("channel: detached");
        this.end(bytes[start] === 1, 0);
        return;
      default:
        throw new WireError(`channel: kind ${kind}`);
    }
  }

  private onHold(): void {
    if (this.state !== "attached") return;
    this.isHeld = true;
    this.channel.hold(() => {
      if (this.state === "attached") this.link.room(this.number, Kind.held, 0, false);
    });
  }

  private onMoved(bytes: Buffer, start: number, end: number): void {
    const { node, epoch } = decodeMoved(bytes, start, end);
    if (this.state !== "attached") {
      // Its new node waits in vain for a connection that is closed.
      this.end(true, 0);
      return;
    }
    this.state = "over";
    this.near.onMoved(this);
    this.channel.moved(node, epoch);
  }

  private onRefused(reason: number): void {
    this.answer(reason === movedReason ? { kind: "moved" } : { kind: "refused", reason });
  }

  private answer(answer: AttachAnswer): void {
    if (this.state !== "attaching") return;
    this.state = answer.kind === "attached" ? "attached" : "over";
    this.near.onAnswer(this, answer);
    if (answer.kind !== "attached") this.tellWaiting();
  }

  /** The far end is gone, or knows that we are. `reason` is for a connection that is still open. */
  private end(kept: boolean | null, reason: number): void {
    if (this.state === "over" || this.state === "attaching") return;
    const wasAttached = this.state === "attached";
    this.state = "over";
    this.kept = kept;
    // Its end is told to the host by `detach`, within this call.
    if (wasAttached) this.channel.close(reason);
    else this.near.onOver(this);
    this.tellWaiting();
  }

  private tellWaiting(): void {
    for (const done of this.waiting.splice(0)) done();
  }

  private onMessage(bytes: Buffer, start: number, end: number): void {
    if (this.state !== "attached") return;
    const { topics } = this.host.router;
    const { message, packetId, qos, retain, dup, ids } = readDelivery(bytes, start, end, topics);
    const { channel } = this;
    const isSent = dup
      ? channel.republish(message, qos, retain, packetId, ids)
      : channel.publish(message, qos, retain, packetId, ids);
    if (isSent || packetId === 0) return;
    const at = this.room(Kind.skip, 2, true);
    this.link.bytes.writeUInt16BE(packetId, at);
  }

  private receive(bytes: number): void {
    this.owed += bytes;
    this.giveCredit();
  }

  /** The far end may send more, as the client has taken what there was. */
  private giveCredit(): void {
    if (this.owed < this.near.window / 4 || this.channel.congested) return;
    if (this.state !== "attached") return;
    const at = this.link.room(this.number, Kind.credit, 4, false);
    this.link.bytes.writeUInt32BE(this.owed, at);
    this.owed = 0;
  }

  private onCredit(bytes: Buffer, start: number, end: number): void {
    if (end - start !== 4) throw new WireError("channel: credit");
    this.uncredited = Math.max(0, this.uncredited - bytes.readUInt32BE(start));
    if (this.state === "attached" && !this.backlogged) this.channel.readOn();
  }

  private request(kind: number, record: Buffer): void {
    const at = this.link.room(this.number, kind, record.length, false);
    this.link.bytes.set(record, at);
    this.uncredited += requestCost(record.length, this.farWindow);
  }

  private passOn(type: AckType, packetId: number, reason: number): void {
    const at = this.room(Kind.acks, ackRecordBytes, true);
    const { bytes } = this.link;
    bytes[at] = type;
    bytes[at + 1] = reason;
    bytes[at + 2] = packetId >> 8;
    bytes[at + 3] = packetId & 0xff;
  }

  private room(kind: number, length: number, goesOn: boolean): number {
    this.uncredited += length;
    return this.link.room(this.number, kind, length, goesOn);
  }
}

/** In place of a reason code: the session has moved to another node. */
export const movedReason = -2;
