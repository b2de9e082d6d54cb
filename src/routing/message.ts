/**
 * One message on its way: the only record that is made for a PUBLISH. Its bytes stay where they
 * arrived (a slab of the socket's reads) until somebody keeps the message beyond this turn of the event
 * loop and calls `own()`.
 */
import { expiryAt } from "../protocol/properties.js";
import type { Qos } from "../protocol/publish.js";
import type { GroupHead } from "./group-head.js";
import type { Topic } from "./topic.js";

/** Whoever waits for a message to be accepted everywhere. */
export interface AcceptanceSink {
  /** The message is now accepted by all its targets, or `message.refused` says why not. */
  onAccepted(message: Message): void;
  /** It can tell its publisher that a limit refused the message; else what can be done with it is done. */
  readonly tellsRefusal?: boolean;
}

/** The connection from which publishes come; they may be forwarded as they came. */
export class Publisher {
  /** What precedes them on a link; made when it is first needed. */
  head: Buffer | null = null;
  /** The same of the share group that got the last of them, by peer. */
  groupHeads: (GroupHead | undefined)[] | null = null;
  /** Kind of the last one that was forwarded (forwards.ts), and what makes it. */
  kind = 0;
  topic: Topic | null = null;
  shape = 0;

  constructor(
    readonly clientId: string,
    readonly user: string,
    readonly version: number,
  ) {}
}

/**
 * A numbered sequence of messages, of which some may come again after a crash: the forwards of one incarnation
 * of a peer, or what a node committed before it published it (QoS 2 publishes, wills).
 */
export interface Origin {
  /** The name of the peer, or of the node and behind it one of `ownOrigins`, which of this node stands alone. */
  readonly name: string;
  readonly incarnation: number;
  /** They are forwards, which this process takes once each: what comes again comes to a later process. */
  readonly isStream?: true;
  /** They come in no order: see `againOrigin`. */
  readonly isAgain?: true;
}

export class Message {
  /** Targets that have not accepted it yet. 0 after `Router.publish`: accepted at once. */
  pending = 0;
  /** Whom to tell when `pending` falls to 0 later. */
  sink: AcceptanceSink | null = null;
  /** The packet id under which the publisher sent it; 0 with QoS 0. */
  packetId = 0;
  /** Reason code with which the publish failed, or 0. */
  refused = 0;
  /** Subscribers and peers found; 0 is reason code 0x10, no matching subscribers. */
  matched = 0;
  /** Number at its origin (docs/wire.md); 0 with QoS 0. */
  counter = 0;
  /** User of the publisher, as it authenticated; empty: anonymous. */
  user = "";
  /** Hybrid-logical-clock stamp of a retained message; else 0. */
  stamp = 0;
  /** When it expires, on the node's monotonic clock; 0: never. */
  expiresMs = 0;
  /**
   * Shape (`publishShape`) of the whole PUBLISH that `bytes` hold from `frameStart` to `payloadEnd`. It can
   * be sent as it is where the same shape is due. 0: they hold none, or do not stay as they are until
   * the end of this turn.
   */
  shape = 0;
  frameStart = 0;
  /** Of whom the bytes of `shape` are; null: not of a connection of this node. */
  via: Publisher | null = null;
  /** Where a number of this message is remembered by those who took it; null: repeats cannot come. */
  origin: Origin | null = null;
  /** Its number there: higher for each later message of that origin. */
  identity = 0;
  /** Own subscribers to whom it goes at once, as far as is known. */
  fanOut = 0;
  /** Where a journal has stored it for several sessions: record and place in it; 0: nowhere. */
  body = 0;
  bodyIndex = 0;
  private owned = false;

  constructor(
    public topic: Topic,
    readonly qos: Qos,
    readonly retain: boolean,
    /** Client id of the publisher. */
    public publisher: string,
    /** Holds properties and payload. Replaced by `own()`. */
    public bytes: Buffer,
    /** Raw MQTT 5 properties, without their length prefix; empty range: none. */
    public propertiesStart: number,
    public propertiesEnd: number,
    public payloadStart: number,
    public payloadEnd: number,
  ) {}

  get payloadLength(): number {
    return this.payloadEnd - this.payloadStart;
  }

  /** One target has accepted it. */
  accept(): void {
    if (--this.pending === 0 && this.sink !== null) this.sink.onAccepted(this);
  }

  /** Bytes of topic, properties and payload: what limits of queues count. */
  get size(): number {
    const properties = this.propertiesEnd - this.propertiesStart;
    return this.topic.bytes.length + properties + this.payloadEnd - this.payloadStart;
  }

  /** It is worth nothing after `seconds` from now [MQTT-3.3.2-5]. */
  expireIn(seconds: number, nowMs: number): void {
    this.expiresMs = Math.max(1, nowMs + seconds * 1000);
  }

  hasExpired(nowMs: number): boolean {
    return this.expiresMs !== 0 && this.expiresMs <= nowMs;
  }

  /** Seconds until it expires, rounded up: 0 when that is past. Only of one that does expire. */
  secondsLeft(nowMs: number): number {
    return Math.max(0, Math.ceil((this.expiresMs - nowMs) / 1000));
  }

  /**
   * Before a message that has waited is sent: writes the time that is left into its own bytes, where its
   * publisher had put the whole [MQTT-3.3.2-6]. Returns false when it has expired.
   */
  countDown(nowMs: number): boolean {
    const at = expiryAt(this.bytes, this.propertiesStart, this.propertiesEnd);
    if (at !== -1) this.bytes.writeUInt32BE(this.secondsLeft(nowMs), at);
    return nowMs < this.expiresMs;
  }

  /** Its bytes stay as they are: nothing has to be copied. */
  isOwn(): void {
    this.owned = true;
  }

  /** Copies the bytes out of the socket's slab, once: a kept 10-byte slice would pin 64 KiB. */
  own(): void {
    if (this.owned) return;
    this.owned = true;
    if (this.shape !== 0) {
      this.ownFrame();
      return;
    }
    const properties = this.propertiesEnd - this.propertiesStart;
    const own = Buffer.allocUnsafe(properties + this.payloadEnd - this.payloadStart);
    this.bytes.copy(own, 0, this.propertiesStart, this.propertiesEnd);
    this.bytes.copy(own, properties, this.payloadStart, this.payloadEnd);
    this.bytes = own;
    this.propertiesStart = 0;
    this.propertiesEnd = properties;
    this.payloadStart = properties;
    this.payloadEnd = own.length;
  }

  /** The whole frame: one copy, and it can still be sent as it is. */
  private ownFrame(): void {
    const from = this.frameStart;
    const own = Buffer.allocUnsafe(this.payloadEnd - from);
    own.set(this.bytes.subarray(from, this.payloadEnd));
    this.bytes = own;
    this.frameStart = 0;
    this.propertiesStart -= from;
    this.propertiesEnd -= from;
    this.payloadStart -= from;
    this.payloadEnd -= from;
  }
}
