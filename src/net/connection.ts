/**
 * One client's network connection: bytes in, packets handled in one loop, bytes out at the end of the
 * turn. It is the channel of its session. A client's mistake is caught here and nowhere else, and
 * ends this connection only; so does a bug of ours that shows itself while its bytes are handled.
 */
import { type AckType, AckType as Ack, ack, decodeAck, pingrespFrame } from "../protocol/acks.js";
import { type FrameHandler, FrameReader } from "../protocol/framing.js";
import { encodeConnack, parseConnect, parseControl } from "../protocol/packets.js";
import { isAuth, parseAuth } from "../protocol/auth-packet.js";
import { ProtocolError } from "../protocol/protocol-error.js";
import { publishShape, type Qos } from "../protocol/publish.js";
import { ReasonCode, reasonName } from "../protocol/reason-codes.js";
import { checkLength, connectVersion, PacketType, typeOf } from "../protocol/strict.js";
import type { Message } from "../routing/message.js";
import type { PublishRun } from "../routing/publish-run.js";
import type { AcksOwner } from "../session/acks.js";
import type { Channel, ChannelInfo } from "../session/channel.js";
import type { EnhancedAuth } from "../session/handlers/auth.js";
import { keepAliveOf } from "../session/handlers/connack.js";
import { connect, type Greeting } from "../session/handlers/connect.js";
import { disconnect } from "../session/handlers/disconnect.js";
import { subscribe } from "../session/handlers/subscribe.js";
import { unsubscribe } from "../session/handlers/unsubscribe.js";
import type { ListenerPolicy } from "../session/listener-policy.js";
import type { AttachedSession } from "../session/remote/near.js";
import { encodeAliased, OutgoingAliases } from "./aliases.js";
import { addressText, type ClientSocket } from "./client-socket.js";
import { Inbound } from "./inbound.js";
import { KeepAlive, type KeepAliveOwner, type Overdue } from "./keepalive.js";
import { LoginExpiry } from "./login-expiry.js";
import { goodbye, refusal } from "./goodbye.js";
import type { ConnectionShare } from "./connection-share.js";
import { Output, type OutputOwner } from "./output.js";
import type { StallSubject } from "./stall-watch.js";
import { tellOfStranger } from "./strangers.js";

/** So much of what comes before CONNACK is kept; who sends more is not read until then. */
const earlyBytesMax = 16_384;

export class Connection
  implements Channel, FrameHandler, OutputOwner, KeepAliveOwner, AcksOwner, StallSubject
{
  /** 0 until CONNECT says it. */
  version = 0;
  isOpen = true;
  private session: AttachedSession | null = null;
  private inbound: Inbound | null = null;
  /** Enhanced authentication, if the client asked for it. */
  private auth: EnhancedAuth | null = null;
  /** Null: the client takes no topic aliases. */
  private aliases: OutgoingAliases | null = null;
  private packetMax = Number.POSITIVE_INFINITY;
  private keepAliveSeconds = 0;
  /** Of what the client was let in by, if that expires. */
  private expiry: LoginExpiry | null = null;
  /** Not read for now: CONNECT waits for its grant, or too much is unanswered. */
  private halted = false;
  /** What came after CONNECT was kept for the time after CONNACK, and is not handled yet. */
  private isEarly = false;
  /** The socket has closed. */
  hasLeft = false;
  private readonly connectedAtMs: number;
  private readonly reader: FrameReader;
  private readonly output: Output;
  private readonly keepAlive: KeepAlive;

  constructor(
    private readonly socket: ClientSocket,
    private readonly share: ConnectionShare,
    private readonly policy: ListenerPolicy,
    /** Where the client is, if the socket is not the one to ask: it belongs to a proxy. */
    private address: string | null,
  ) {
    const { limits } = share.config;
    this.connectedAtMs = share.clock.wallMs();
    this.reader = new FrameReader(this, limits.max_packet_before_connect);
    this.output = new Output(socket, share.output, this);
    share.turn.refresh();
    this.keepAlive = new KeepAlive(share.wheel, share.turn, limits.connect_timeout, this);
    socket.on("data", (chunk: Buffer) => this.onData(chunk));
    socket.on("drain", () => this.onDrain());
    socket.on("error", () => undefined);
    socket.on("close", () => this.onSocketClose());
  }

  /** It is at this node. */
  get node(): null {
    return null;
  }

  get congested(): boolean {
    return this.output.congested || this.output.isSilent;
  }

  silence(isSilent: boolean): void {
    this.output.isSilent = isSilent;
    if (isSilent || !this.isOpen) return;
    this.output.flush();
    this.session?.pump();
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

  get user(): string | undefined {
    return this.session?.user;
  }

  get oldestUnanswered(): object | null {
    const { session, inbound } = this;
    if (session !== null) return inbound?.oldestUnanswered ?? session.oldestReply;
    // A CONNECT that waits for its session.
    return this.version !== 0 && this.auth === null ? this : null;
  }

  get hasWithheld(): boolean {
    return this.inbound?.hasWithheld ?? false;
  }

  /** The store took nothing for too long; what became of the unanswered is not known. */
  closeStalled(): void {
    if (this.session === null) {
      this.send(encodeConnack(this.version, false, ReasonCode.ServerUnavailable, {}));
      this.finish("store stalled", false);
    } else this.close(ReasonCode.QuotaExceeded);
  }

  private get clientAddress(): string {
    const { remoteAddress = "", remotePort = 0 } = this.socket;
    return this.address ?? addressText(remoteAddress, remotePort);
  }

  info(): ChannelInfo {
    return {
      address: this.clientAddress,
      version: this.version,
      keepAliveSeconds: this.keepAliveSeconds,
      connectedAtMs: this.connectedAtMs,
      waitingBytes: this.output.waitingBytes,
      packetMax: this.packetMax,
      takesMessages: this.aliases !== null || this.share.mount !== null,
    };
  }

  publish(
    message: Message,
    qos: Qos,
    retain: boolean,
    packetId: number,
    subscriptionIds: readonly number[] | null,
  ): boolean {
    if (subscriptionIds !== null || this.aliases !== null) {
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

  publishRun(run: PublishRun, packetId: number): boolean {
    if (this.aliases !== null || run.longest > this.packetMax) return false;
    if (run.shape !== publishShape(this.version, run.qos, false)) return false;
    return this.output.publishRun(run, packetId);
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

  passOn(bytes: Buffer, start: number, end: number): void {
    this.output.publish(bytes, start, end, 0);
  }

  hold(done: () => void): void {
    if (!this.halted) this.halt();
    done();
  }

  release(): void {
    this.readOn();
  }

  moved(node: string, epoch: number): void {
    const { session, share } = this;
    if (session === null || !this.isOpen) return;
    const next = share.sessions.follow(session, this, node, epoch);
    if (next === null) {
      this.close(ReasonCode.UseAnotherServer);
      return;
    }
    this.session = next;
    this.inbound?.goOn(next);
    this.readOn();
  }

  close(reason: number): void {
    if (!this.isOpen) return;
    if (this.version === 5 && this.session !== null) {
      this.send(goodbye(reason, this.sentence(reason), this.share.config, this.packetMax));
    }
    this.finish(reasonName(reason), true);
  }

  /** One packet, from the reader. False: no more for now. */
  onFrame(bytes: Buffer, first: number, start: number, end: number): boolean {
    const { session, inbound } = this;
    if (session === null || inbound === null) return this.onConnect(bytes, first, start, end);
    if (start - first > 2) checkLength(this.version, bytes, start);
    const byte = bytes[first] as number; // a whole packet is there
    if (byte >> 4 === 3) return this.goesOn(inbound.onPublish(bytes, first, start, end));
    const userPropertiesMax = this.share.config.limits.user_properties;
    const type = typeOf(byte, this.version);
    switch (type) {
      case Ack.Puback:
        decodeAck(type, bytes, start, end, this.version, userPropertiesMax);
        session.onPuback(ack.packetId);
        return true;
      case Ack.Pubrec:
        decodeAck(type, bytes, start, end, this.version, userPropertiesMax);
        session.onPubrec(ack.packetId, ack.reason);
        return true;
      case Ack.Pubrel:
        decodeAck(type, bytes, start, end, this.version, userPropertiesMax);
        session.onPubrel(ack.packetId);
        return true;
      case Ack.Pubcomp:
        decodeAck(type, bytes, start, end, this.version, userPropertiesMax);
        session.onPubcomp(ack.packetId);
        return true;
      case PacketType.Pingreq:
        if (end !== start) throw new ProtocolError(ReasonCode.MalformedPacket);
        this.output.packet(pingrespFrame);
        return true;
      default:
        this.onControl(session, type, bytes, first, start, end);
        return this.isOpen && this.goesOn(!session.backlogged);
    }
  }

  private onData(chunk: Buffer): void {
    if (!this.isOpen) return;
    const { turn, counters } = this.share;
    this.keepAlive.heardMs = turn.refresh();
    counters.bytesIn += chunk.length;
    try {
      if (this.halted) this.reader.keep(chunk);
      else this.reader.push(chunk);
      if (this.halted && this.reader.heldBytes > 0) this.onHeld();
      if (!this.halted && (this.output.overfull || this.session?.backlogged)) this.goesOn(false);
      if (this.share.fairReads.mustYield(this, chunk.length) && !this.halted) this.yieldTurn();
    } catch (error) {
      this.onError(error);
    }
  }

  private onConnect(bytes: Buffer, first: number, start: number, end: number): boolean {
    if (this.auth !== null) return this.onBeforeConnack(this.auth, bytes, first, start, end);
    const { limits } = this.share.config;
    this.version = connectVersion(bytes[first] ?? 0, bytes, start, end);
    if (start - first > 2) checkLength(this.version, bytes, start);
    const parsed = parseConnect(bytes, first, start, end, this.version, limits.user_properties);
    const packet = this.share.mount?.connect(parsed) ?? parsed;
    this.keepAliveSeconds = keepAliveOf(packet, limits.keep_alive_max);
    this.packetMax = packet.packetMax;
    const aliasMax = Math.min(packet.topicAliasMax, limits.topic_aliases);
    if (aliasMax > 0) this.aliases = new OutgoingAliases(aliasMax);
    const isStranger = packet.user === "" && packet.authenticationMethod === null;
    const greet = (greeting: Greeting): void => {
      const isRefused = isStranger && greeting.reason === ReasonCode.NotAuthorized;
      if (isRefused) tellOfStranger(this.policy, this.clientAddress, this.share.log);
      this.greet(greeting);
    };
    this.auth = connect(packet, this, this.policy, this.share, greet);
    return this.awaitConnack();
  }

  /** Only AUTH and DISCONNECT may come while a client proves who it is [MQTT-3.1.2-30]. */
  private onBeforeConnack(
    auth: EnhancedAuth,
    bytes: Buffer,
    first: number,
    start: number,
    end: number,
  ): boolean {
    const { user_properties: userPropertiesMax } = this.share.config.limits;
    if (isAuth(bytes[first])) {
      auth.onPacket(parseAuth(bytes, first, start, end, this.version, userPropertiesMax));
    } else if (bytes[first] === PacketType.Disconnect) {
      parseControl(PacketType.Disconnect, bytes, start, end, this.version, userPropertiesMax);
      this.finish("disconnect", false);
    } else throw new ProtocolError(ReasonCode.ProtocolError, "neither AUTH nor DISCONNECT");
    return this.awaitConnack();
  }

  /**
   * Handles packets before CONNACK only when the client has something to say to its authentication. Until it says more
   * the socket is read all the same: so its end is seen, and nothing is claimed any more for who has gone.
   */
  private awaitConnack(): boolean {
    if (this.isOpen && this.session === null) {
      if (this.auth?.awaitsClient) this.reader.connectOnly = false;
      else {
        this.halted = true;
        this.isEarly = true;
        this.keepAlive.paused = true;
      }
    }
    return this.isOpen && !this.halted;
  }

  private greet({ session, connack, reason, expiresAtMs }: Greeting): void {
    if (connack !== null) this.send(connack);
    if (session === null) {
      this.finish(reason === 0 ? "superseded" : reasonName(reason), false);
      return;
    }
    this.session = session;
    const { version, output, share } = this;
    this.inbound =
      share.mount?.inbound(session, version, output, share, this) ??
      new Inbound(session, version, output, share, this);
    this.reader.connectOnly = false;
    this.reader.packetMax = this.share.config.limits.max_packet;
    this.keepAlive.open(this.keepAliveSeconds);
    if (expiresAtMs !== null) {
      const { wheel, clock } = this.share;
      const onExpired = (): void => this.close(ReasonCode.NotAuthorized);
      this.expiry = new LoginExpiry(wheel, clock, expiresAtMs, onExpired);
    }
    this.debug({}, "client connected");
    const { events } = share;
    if (events?.isWatched) events.connected(session.clientId, session.user, this.info());
    if (this.halted) this.resumeSoon();
  }

  private onControl(
    session: AttachedSession,
    type: number,
    bytes: Buffer,
    first: number,
    start: number,
    end: number,
  ): void {
    const { user_properties: userPropertiesMax } = this.share.config.limits;
    if (isAuth(bytes[first])) {
      const packet = parseAuth(bytes, first, start, end, this.version, userPropertiesMax);
      if (this.auth === null) throw new ProtocolError(ReasonCode.ProtocolError, "no method"); // [MQTT-4.12.0-7]
      this.auth.onPacket(packet);
      return;
    }
    const parsed = parseControl(type, bytes, start, end, this.version, userPropertiesMax);
    const packet = this.share.mount?.control(parsed) ?? parsed;
    switch (packet.cmd) {
      case "subscribe":
        if (session.isRemote) session.subscribe(packet);
        else subscribe(session, this, packet);
        break;
      case "unsubscribe":
        if (session.isRemote) session.unsubscribe(packet);
        else unsubscribe(session, this, packet);
        break;
      case "disconnect":
        this.finish(
          "disconnect",
          disconnect(session, packet),
          packet.sessionExpirySeconds !== undefined,
        );
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
    const { version, packetMax } = this;
    const aliases = dup ? null : this.aliases;
    const out = this.share.frames;
    const bytes = encodeAliased(
      out,
      aliases,
      packetMax,
      message,
      version,
      qos,
      retain,
      dup,
      packetId,
      ids,
    );
    if (bytes === null) return false;
    this.output.packet(bytes);
    return true;
  }

  /** It has brought much at once: leaves off until the end of this turn. */
  private yieldTurn(): void {
    this.share.counters.readsYielded++;
    this.socket.pause();
    this.share.clock.defer(() => {
      if (!this.halted) this.socket.resume();
    });
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

  onWithheld(): void {
    this.share.onWithheld();
  }

  /** Reads again, unless something else still stands in the way. */
  readOn(): void {
    if (this.halted && this.mayRead) this.resumeSoon();
  }

  private resumeSoon(): void {
    this.halted = false;
    this.share.clock.defer(() => this.resume());
  }

  /** The client sends on while nothing is handled. Before CONNACK it is read all the same, as `awaitConnack` says. */
  private onHeld(): void {
    // When it has gone the socket does not know that any more.
    if (this.isEarly) this.address ??= this.clientAddress;
    const isTooMuch = this.isEarly && this.reader.heldBytes > earlyBytesMax;
    if (isTooMuch) this.share.counters.readsPaused++;
    if (isTooMuch || !this.isEarly) this.socket.pause();
  }

  private resume(): void {
    if (!this.isOpen || this.halted) return;
    this.isEarly = false;
    this.keepAlive.heardMs = this.share.turn.refresh();
    this.keepAlive.paused = false;
    try {
      this.reader.resume();
    } catch (error) {
      this.onError(error);
    }
    // What was left may have halted it again.
    if (!this.isOpen || this.halted) return;
    if (this.hasLeft) this.finish("connection lost", true);
    else this.socket.resume();
  }

  onCongestion(congested: boolean): void {
    if (congested) this.keepAlive.congested(this.share.config.limits.connection_output_grace);
    else this.keepAlive.relieved();
  }

  private onDrain(): void {
    this.output.measure();
    if (this.isOpen) this.session?.pump();
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
        if (this.version === 0) this.cutOff("no connect in time");
        else if (this.auth?.awaitsClient) this.cutOff("authentication not finished in time");
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
    this.debug({ reason: error.message }, "a client's mistake");
    const { version, session } = this;
    const packet = session === null ? refusal(version, reason, this.sentence(reason)) : null;
    if (packet !== null) this.send(packet);
    this.close(reason);
  }

  /** The address is asked for only when somebody reads it. */
  private debug(fields: object, message: string): void {
    const { share, clientId, policy } = this;
    if (share.log.level !== "debug" && share.log.level !== "trace") return;
    const whose = { clientId, address: this.clientAddress, listener: policy.name };
    share.log.debug({ ...whose, ...fields }, message);
  }

  private sentence(reason: number): string {
    return this.share.config.mqtt.reason_strings ? reasonName(reason) : "";
  }

  /**
   * The connection is over, whatever the socket still sends. `durably`: the client sees that it is closed when what
   * that means for its session is durable.
   */
  private finish(why: string, willDue: boolean, durably = false): void {
    const { session } = this;
    if (!this.isOpen) return;
    this.isOpen = false;
    this.share.counters.closed(why);
    this.debug({ why }, "connection closed");
    this.output.flush();
    this.inbound?.close();
    this.keepAlive.closing();
    this.expiry?.stop();
    if (this.hasLeft) this.onGone();
    this.socket.resume(); // so that the end of the stream is seen
    if (session === null || !durably) this.socket.destroySoon();
    if (session === null) return;
    this.share.sessions.detach(session, this, willDue);
    const { events } = this.share;
    if (events?.isWatched) events.disconnected(session.clientId, session.user, why);
    if (durably) session.whenDurable(() => this.socket.destroySoon());
  }

  private onSocketClose(): void {
    this.hasLeft = true;
    // A client that says all that it has to say and goes is heard when it is let in.
    if (this.isOpen && this.isEarly && this.reader.heldBytes > 0) return;
    if (this.isOpen) this.finish("connection lost", true);
    else this.onGone();
  }

  private onGone(): void {
    this.keepAlive.stop();
    this.share.fairReads.forget(this);
    this.share.onGone(this);
  }
}
