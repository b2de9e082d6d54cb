/**
 * One client's network connection: bytes in, packets handled in one loop, bytes out at the end of the
 * turn. It is the channel of its session. A client's mistake is caught here and nowhere else, and
 * ends this connection only; so does a bug of ours that shows itself while its bytes are handled.
 */
import type { Socket } from "node:net";
import type { Config } from "../config/schema.js";
import type { Clock } from "../lib/clock.js";
import type { Log } from "../lib/log.js";
import type { TimerWheel } from "../lib/timer-wheel.js";
import { type AckType, AckType as Ack, ack, decodeAck, pingrespFrame } from "../protocol/acks.js";
import { type FrameHandler, FrameReader } from "../protocol/framing.js";
import {
  encodeConnack,
  encodeDisconnect,
  parseConnect,
  parseControl,
} from "../protocol/packets.js";
import { ProtocolError } from "../protocol/protocol-error.js";
import { publishShape, type Qos } from "../protocol/publish.js";
import { ReasonCode, reasonName } from "../protocol/reason-codes.js";
import { connectVersion, PacketType } from "../protocol/strict.js";
import type { Message } from "../routing/message.js";
import type { Router } from "../routing/router.js";
import type { Channel, ChannelInfo } from "../session/channel.js";
import {
  type ConnectParts,
  connect,
  type Greeting,
  keepAliveOf,
} from "../session/handlers/connect.js";
import { disconnect } from "../session/handlers/disconnect.js";
import { subscribe } from "../session/handlers/subscribe.js";
import { unsubscribe } from "../session/handlers/unsubscribe.js";
import type { Session } from "../session/session.js";
import type { Turn } from "../session/turn.js";
import type { AcksOwner } from "./acks.js";
import type { NetCounters } from "./counters.js";
import type { FrameEncoder } from "./frames.js";
import { Inbound } from "./inbound.js";
import { KeepAlive, type KeepAliveOwner, type Overdue } from "./keepalive.js";
import { Output, type OutputOwner, type OutputShare } from "./output.js";

/** What all connections of a front end share. */
export interface ConnectionShare extends ConnectParts {
  readonly config: Config;
  readonly router: Pick<Router, "publish" | "topics">;
  readonly clock: Clock;
  readonly wheel: TimerWheel;
  readonly turn: Turn;
  readonly log: Log;
  readonly counters: NetCounters;
  readonly output: OutputShare;
  readonly frames: FrameEncoder;
  /** The connection's socket is closed. */
  onGone(connection: Connection): void;
}

export class Connection implements Channel, FrameHandler, OutputOwner, KeepAliveOwner, AcksOwner {
  /** 0 until CONNECT says it. */
  version = 0;
  isOpen = true;
  private session: Session | null = null;
  private inbound: Inbound | null = null;
  private packetMax = Number.POSITIVE_INFINITY;
  private keepAliveSeconds = 0;
  /** Not read for now: CONNECT waits for its grant, or too much is unanswered. */
  private halted = false;
  private readonly connectedAtMs: number;
  private readonly reader: FrameReader;
  private readonly output: Output;
  private readonly keepAlive: KeepAlive;

  constructor(
    private readonly socket: Socket,
    private readonly share: ConnectionShare,
  ) {
    const { limits } = share.config;
    this.connectedAtMs = share.clock.wallMs();
    this.reader = new FrameReader(this, limits.max_packet_before_connect);
    this.output = new Output(socket, share.output, this);
    share.turn.refresh();
    this.keepAlive = new KeepAlive(share.wheel, share.turn, limits.connect_timeout, this);
    socket.on("data", (chunk: Buffer) => this.onData(chunk));
    socket.on("drain", () => this.onDrain());
    // An error is followed by "close", which is where it is handled.
    socket.on("error", () => undefined);
    socket.on("close", () => this.onSocketClose());
  }

  get congested(): boolean {
    return this.output.congested;
  }

  /** Enough is answered, and the client takes what it is sent. */
  private get mayRead(): boolean {
    const { session, inbound } = this;
    if (session === null || inbound === null) return false;
    return inbound.mayResume && !session.backlogged && !this.output.overfull;
  }

  get clientId(): string | undefined {
    return this.session?.clientId;
  }

  info(): ChannelInfo {
    const { remoteAddress = "", remotePort = 0 } = this.socket;
    return {
      address: `${remoteAddress}:${remotePort}`,
      version: this.version,
      keepAliveSeconds: this.keepAliveSeconds,
      connectedAtMs: this.connectedAtMs,
    };
  }

  publish(
    message: Message,
    qos: Qos,
    retain: boolean,
    packetId: number,
    subscriptionIds: readonly number[] | null,
  ): boolean {
    if (subscriptionIds !== null) {
      return this.publishAlone(message, qos, retain, false, packetId, subscriptionIds);
    }
    let { bytes, frameStart: start, payloadEnd: end } = message;
    if (message.shape !== publishShape(this.version, qos, retain)) {
      const { frames } = this.share;
      frames.encode(message, this.version, qos, retain);
      bytes = frames.bytes;
      start = frames.start;
      end = frames.end;
    }
    if (end - start > this.packetMax) return false;
    this.output.publish(bytes, start, end, packetId);
    return true;
  }

  republish(
    message: Message,
    qos: Qos,
    retain: boolean,
    packetId: number,
    subscriptionIds: readonly number[] | null,
  ): boolean {
    return this.publishAlone(message, qos, retain, true, packetId, subscriptionIds);
  }

  acknowledge(type: AckType, packetId: number, reason: number): void {
    this.output.acknowledge(type, packetId, this.version === 5 ? reason : 0);
  }

  send(packet: Buffer): void {
    if (packet.length <= this.packetMax) this.output.packet(packet);
  }

  close(reason: number): void {
    if (!this.isOpen) return;
    if (this.version === 5 && this.session !== null) {
      this.send(encodeDisconnect(reason, this.sentence(reason)));
    }
    this.finish(reasonName(reason), true);
  }

  /** One packet, from the reader. False: no more for now. */
  onFrame(bytes: Buffer, first: number, start: number, end: number): boolean {
    const { session, inbound } = this;
    if (session === null || inbound === null) return this.onConnect(bytes, first, start, end);
    const type = bytes[first] as number; // a whole packet is there
    if (type >> 4 === 3) return this.goesOn(inbound.onPublish(bytes, first, start, end));
    const userPropertiesMax = this.share.config.limits.user_properties;
    switch (type) {
      case Ack.Puback:
        decodeAck(bytes, start, end, this.version, userPropertiesMax);
        session.onPuback(ack.packetId);
        return true;
      case Ack.Pubrec:
        decodeAck(bytes, start, end, this.version, userPropertiesMax);
        session.onPubrec(ack.packetId, ack.reason);
        return true;
      case Ack.Pubrel:
        decodeAck(bytes, start, end, this.version, userPropertiesMax);
        session.onPubrel(ack.packetId);
        return true;
      case Ack.Pubcomp:
        decodeAck(bytes, start, end, this.version, userPropertiesMax);
        session.onPubcomp(ack.packetId);
        return true;
      case PacketType.Pingreq:
        if (end !== start) throw new ProtocolError(ReasonCode.MalformedPacket);
        this.output.packet(pingrespFrame);
        return true;
      default:
        this.onControl(session, bytes, first, start, end);
        return this.isOpen && this.goesOn(!session.backlogged);
    }
  }

  private onData(chunk: Buffer): void {
    if (!this.isOpen) return;
    const { turn, counters } = this.share;
    this.keepAlive.heardMs = turn.refresh();
    counters.bytesIn += chunk.length;
    try {
      this.reader.push(chunk);
      if (this.output.overfull && !this.halted) this.goesOn(false);
    } catch (error) {
      this.onError(error);
    }
  }

  private onConnect(bytes: Buffer, first: number, start: number, end: number): boolean {
    if (bytes[first] !== PacketType.Connect) {
      throw new ProtocolError(ReasonCode.ProtocolError, "not a CONNECT"); // [MQTT-3.1.0-1]
    }
    const { limits } = this.share.config;
    this.version = connectVersion(bytes, start, end);
    const packet = parseConnect(bytes, first, start, end, limits.user_properties);
    this.keepAliveSeconds = keepAliveOf(packet, limits.keep_alive_max);
    this.packetMax = packet.packetMax;
    connect(packet, this, this.share, (greeting) => this.greet(greeting));
    if (this.isOpen && this.session === null) this.halt();
    return this.isOpen && !this.halted;
  }

  private greet({ session, connack, reason }: Greeting): void {
    if (connack !== null) this.send(connack);
    if (session === null) {
      this.finish(reason === 0 ? "superseded" : reasonName(reason), false);
      return;
    }
    this.session = session;
    this.inbound = new Inbound(session, this.version, this.output, this.share, this);
    this.reader.connectOnly = false;
    this.reader.packetMax = this.share.config.limits.max_packet;
    this.keepAlive.open(this.keepAliveSeconds);
    if (this.halted) this.resumeSoon();
  }

  private onControl(
    session: Session,
    bytes: Buffer,
    first: number,
    start: number,
    end: number,
  ): void {
    const { user_properties: userPropertiesMax } = this.share.config.limits;
    const packet = parseControl(bytes, first, start, end, this.version, userPropertiesMax);
    switch (packet.cmd) {
      case "subscribe":
        subscribe(session, this, packet);
        break;
      case "unsubscribe":
        unsubscribe(session, this, packet);
        break;
      case "disconnect":
        this.finish("disconnect", disconnect(session, packet));
        break;
    }
  }

  private publishAlone(
    message: Message,
    qos: Qos,
    retain: boolean,
    dup: boolean,
    packetId: number,
    ids: readonly number[] | null,
  ): boolean {
    const { frames } = this.share;
    const bytes = frames.encodeAlone(message, this.version, qos, retain, dup, packetId, ids);
    if (bytes.length > this.packetMax) return false;
    this.output.packet(bytes);
    return true;
  }

  /** After a publish: stops reading when too much is unanswered. */
  private goesOn(room: boolean): boolean {
    if (room) return true;
    this.share.counters.readsPaused++;
    this.halt();
    return false;
  }

  private halt(): void {
    this.halted = true;
    this.keepAlive.paused = true;
    this.socket.pause();
  }

  /** Some publishes were answered; this may be in the midst of another connection's work. */
  onAnswered(): void {
    this.readOn();
  }

  /** Reads again, unless something else still stands in the way. */
  readOn(): void {
    if (this.halted && this.mayRead) this.resumeSoon();
  }

  private resumeSoon(): void {
    if (!this.halted) return;
    this.halted = false;
    this.share.clock.defer(() => this.resume());
  }

  private resume(): void {
    if (!this.isOpen || this.halted) return;
    this.keepAlive.heardMs = this.share.turn.refresh();
    this.keepAlive.paused = false;
    try {
      this.reader.resume();
    } catch (error) {
      this.onError(error);
    }
    // What was left may have halted it again.
    if (this.isOpen && !this.halted) this.socket.resume();
  }

  onCongestion(congested: boolean): void {
    if (congested) this.keepAlive.congested(this.share.config.limits.connection_output_grace);
    else this.keepAlive.relieved();
  }

  private onDrain(): void {
    this.output.measure();
    if (!this.isOpen) return;
    this.session?.onDrain();
    this.readOn();
  }

  onOverdue(what: Overdue): void {
    switch (what) {
      case "keep-alive":
        this.close(ReasonCode.KeepAliveTimeout);
        break;
      case "output":
        this.output.measure();
        if (this.output.congested) this.cutOff("output not taken");
        break;
      case "connect":
        // One that was received waits for its grant, which has a limit of its own.
        if (this.version === 0) this.cutOff("no CONNECT in time");
        break;
      case "closing":
        this.socket.destroy();
        break;
    }
  }

  /** Closes without a word: nobody would read it. */
  private cutOff(why: string): void {
    this.finish(why, true);
    this.socket.destroy();
  }

  private onError(error: unknown): void {
    if (!this.isOpen) return;
    if (!(error instanceof ProtocolError)) {
      this.share.counters.bugs++;
      this.share.log.error({ err: error, clientId: this.clientId }, "bug in a connection");
      this.close(ReasonCode.UnspecifiedError);
      return;
    }
    const { reason } = error;
    const { log } = this.share;
    log.debug({ clientId: this.clientId, reason: error.message }, "a client's mistake");
    if (this.session === null) this.refuse(reason);
    this.close(reason);
  }

  /** CONNACK for a CONNECT that went wrong, where its version is known [MQTT-3.2.2-1..6]. */
  private refuse(reason: number): void {
    const known = reason === ReasonCode.UnsupportedProtocolVersion;
    if (this.version !== 5 && !known) return;
    const version = this.version === 5 ? 5 : 4;
    const sentence = this.sentence(reason);
    const properties = sentence === "" ? {} : { reasonString: sentence };
    this.send(encodeConnack(version, false, reason, properties));
  }

  private sentence(reason: number): string {
    return this.share.config.mqtt.reason_strings ? reasonName(reason) : "";
  }

  /** The connection is over, whatever the socket still sends. */
  private finish(why: string, willDue: boolean): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.share.counters.closed(why);
    this.share.log.debug({ clientId: this.clientId, why }, "connection closed");
    this.output.flush();
    this.inbound?.close();
    this.keepAlive.closing();
    this.socket.resume(); // so that the end of the stream is seen
    this.socket.destroySoon();
    if (this.session !== null) this.share.sessions.detach(this.session, this, willDue);
  }

  private onSocketClose(): void {
    this.finish("connection lost", true);
    this.keepAlive.stop();
    this.share.onGone(this);
  }
}
