/**
 * Bytes of MQTT as the load generator needs them: frames that are encoded once before a run, and a
 * reader that walks what a broker sends in place. It allocates nothing per message, and accepts no
 * more than a broker may send to a client; anything else is a `WireError`.
 */

/** The broker sent what MQTT does not allow, or what the generator did not ask for. */
export class WireError extends Error {
  override name = "WireError";
}

export type Qos = 0 | 1 | 2;

/** First bytes of the packets that acknowledge. PUBREL carries the flags of [MQTT-3.6.1-1]. */
export const head = { puback: 0x40, pubrec: 0x50, pubrel: 0x62, pubcomp: 0x70 } as const;
/** Packet types (the high half of the first byte). */
export const type = {
  connack: 2,
  puback: 4,
  pubrec: 5,
  pubrel: 6,
  pubcomp: 7,
  suback: 9,
  disconnect: 14,
} as const;

/** Payloads begin with: run tag (12 bits) and publisher (20 bits), sequence, send time (µs). */
export const stampBytes = 12;
export const publishersMax = 0xf_ffff;
const publisherBits = 20;

/** What the first four bytes of a payload say. */
export function stampOf(tag: number, publisher: number): number {
  return ((tag << publisherBits) | publisher) >>> 0;
}
export const tagOf = (stamp: number): number => stamp >>> publisherBits;
export const publisherOf = (stamp: number): number => stamp & publishersMax;

/** Callers have checked that `at` lies within `bytes`: an index within bounds is never undefined. */
export function byteAt(bytes: Uint8Array, at: number): number {
  return bytes[at] as number;
}

export function readUint32(bytes: Uint8Array, at: number): number {
  return (
    (byteAt(bytes, at) |
      (byteAt(bytes, at + 1) << 8) |
      (byteAt(bytes, at + 2) << 16) |
      (byteAt(bytes, at + 3) << 24)) >>>
    0
  );
}

export function writeUint32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
  bytes[at + 2] = value >>> 16;
  bytes[at + 3] = value >>> 24;
}

/** A variable byte integer [MQTT 5.0, 1.5.5]. */
function variableInteger(value: number): Buffer {
  const bytes: number[] = [];
  do {
    const low = value & 0x7f;
    value >>>= 7;
    bytes.push(value > 0 ? low | 0x80 : low);
  } while (value > 0);
  return Buffer.from(bytes);
}

export function text(value: string): Buffer {
  const bytes = Buffer.from(value, "utf8");
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 0xff]), bytes]);
}

export function frame(first: number, ...body: Buffer[]): Buffer {
  const whole = Buffer.concat(body);
  return Buffer.concat([Buffer.from([first]), variableInteger(whole.length), whole]);
}

const noProperties = Buffer.from([0]);
/** Session expiry interval, 300 seconds, with the length of all properties. */
const expiryProperty = Buffer.from([5, 0x11, 0, 0, 0x01, 0x2c]);

/** Protocol levels: MQTT 3.1, 3.1.1 and 5.0. */
export type MqttVersion = 3 | 4 | 5;

export interface Login {
  readonly user: string;
  /** Null: a user name alone. */
  readonly password: string | null;
}

/** CONNECT with keep-alive off and a clean session, or, where it `keeps` it, one that outlives the connection. */
export function encodeConnect(
  clientId: string,
  version: MqttVersion,
  login: Login | null = null,
  keeps = false,
): Buffer {
  const credentials = login === null ? 0 : login.password === null ? 0x80 : 0xc0;
  const clean = keeps && version !== 5 ? 0 : 0x02;
  const flags = Buffer.from([version, clean | credentials, 0, 0]);
  const properties = version === 5 ? [keeps ? expiryProperty : noProperties] : [];
  const user = login === null ? [] : [text(login.user)];
  const password = login === null || login.password === null ? [] : [text(login.password)];
  const name = text(version === 3 ? "MQIsdp" : "MQTT");
  return frame(0x10, name, flags, ...properties, text(clientId), ...user, ...password);
}

/** SUBSCRIBE with packet id 1, which is free: it is the first packet after CONNECT. */
export function encodeSubscribe(filter: string, qos: Qos, v5: boolean): Buffer {
  const properties = v5 ? [noProperties] : [];
  return frame(0x82, Buffer.from([0, 1]), ...properties, text(filter), Buffer.from([qos]));
}

export function encodeDisconnect(): Buffer {
  return Buffer.from([0xe0, 0]);
}

/** One PUBLISH, and where in it the parts lie that differ from message to message. */
export interface PublishFrame {
  readonly bytes: Buffer;
  /** 0 with QoS 0. */
  readonly packetIdAt: number;
  readonly payloadAt: number;
}

/** A PUBLISH with `size` bytes of payload (at least `stampBytes`), filled with a repeating pattern. */
export function encodePublish(topic: string, qos: Qos, size: number, v5: boolean): PublishFrame {
  const packetId = qos > 0 ? [Buffer.from([0, 0])] : [];
  const properties = v5 ? [noProperties] : [];
  const payload = Buffer.alloc(size);
  for (let i = 0; i < size; i++) payload[i] = 0x20 + ((i * 31) % 95);
  const bytes = frame(0x30 | (qos << 1), text(topic), ...packetId, ...properties, payload);
  const payloadAt = bytes.length - size;
  return { bytes, packetIdAt: qos > 0 ? payloadAt - (v5 ? 1 : 0) - 2 : 0, payloadAt };
}

/** Takes the packets of the hot path; called for each, in order, with places in the read buffer. */
export interface PacketSink {
  /** `packetId` is 0 with QoS 0. `bytes` is valid only until the call returns. */
  publish(
    bytes: Uint8Array,
    payloadAt: number,
    payloadLength: number,
    qos: number,
    packetId: number,
  ): void;
  /** PUBACK, PUBREC, PUBREL or PUBCOMP; `reason` is 0 where the packet has none. */
  ack(packetType: number, packetId: number, reason: number): void;
}

/** Takes any other packet: its type and its body (a view, valid until the call returns). */
export type OtherPacket = (packetType: number, body: Uint8Array) => void;

/**
 * Cuts a byte stream into packets. Whole packets are read where they lie; only a packet that is cut
 * by the end of a read is copied, and waits for its rest.
 */
export class FrameReader {
  private carry = new Uint8Array(256);
  private carried = 0;

  constructor(
    private readonly sink: PacketSink,
    private readonly other: OtherPacket,
    private readonly v5: boolean,
  ) {}

  /** Reads the first `length` bytes of `chunk`, which may be overwritten afterwards. */
  read(chunk: Uint8Array, length: number): void {
    let at = this.carried > 0 ? this.completeCarried(chunk, length) : 0;
    at = this.walk(chunk, at, length);
    if (at < length) this.keep(chunk, at, length);
  }

  /** Reads whole packets from `at`; returns the place of the first that is not whole. */
  private walk(bytes: Uint8Array, at: number, end: number): number {
    while (end - at >= 2) {
      let remaining = byteAt(bytes, at + 1);
      let body = at + 2;
      if (remaining > 0x7f) {
        const total = frameLength(bytes, at, end);
        if (total === 0) return at;
        body = at + 3;
        while (byteAt(bytes, body - 1) > 0x7f) body++;
        remaining = total - (body - at);
      }
      const next = body + remaining;
      if (next > end) return at;
      const first = byteAt(bytes, at);
      if (first >> 4 === 3) this.onPublish(bytes, first, body, next);
      else if (first >> 4 >= type.puback && first >> 4 <= type.pubcomp) {
        this.onAck(bytes, first, body, remaining);
      } else this.other(first >> 4, bytes.subarray(body, next));
      at = next;
    }
    return at;
  }

  private onPublish(bytes: Uint8Array, first: number, body: number, next: number): void {
    const qos = (first >> 1) & 3;
    if (next - body < 2 || qos === 3) throw new WireError("malformed PUBLISH");
    let at = body + 2 + ((byteAt(bytes, body) << 8) | byteAt(bytes, body + 1));
    let packetId = 0;
    if (qos > 0) {
      if (at + 2 > next) throw new WireError("malformed PUBLISH: no packet id");
      packetId = (byteAt(bytes, at) << 8) | byteAt(bytes, at + 1);
      at += 2;
    }
    if (this.v5) {
      if (at >= next) throw new WireError("malformed PUBLISH: no properties");
      const length = byteAt(bytes, at);
      if (length > 0x7f) at += propertiesLength(bytes, at, next);
      else at += 1 + length;
    }
    if (at > next) throw new WireError("malformed PUBLISH: its parts exceed its length");
    this.sink.publish(bytes, at, next - at, qos, packetId);
  }

  private onAck(bytes: Uint8Array, first: number, body: number, remaining: number): void {
    if (remaining < 2) throw new WireError("malformed acknowledgement");
    const packetId = (byteAt(bytes, body) << 8) | byteAt(bytes, body + 1);
    this.sink.ack(first >> 4, packetId, remaining > 2 ? byteAt(bytes, body + 2) : 0);
  }

  /** Fills up the packet that an earlier read left incomplete; returns where the next one begins. */
  private completeCarried(chunk: Uint8Array, length: number): number {
    let at = 0;
    for (;;) {
      const total = frameLength(this.carry, 0, this.carried);
      const want = total === 0 ? this.carried + 1 : total;
      const from = at;
      at = Math.min(length, at + want - this.carried);
      this.append(chunk, from, at);
      if (this.carried < want) return at;
      if (total === 0) continue;
      this.carried = 0;
      this.walk(this.carry, 0, total);
      return at;
    }
  }

  private keep(chunk: Uint8Array, at: number, end: number): void {
    this.append(chunk, at, end);
  }

  private append(chunk: Uint8Array, from: number, to: number): void {
    const need = this.carried + to - from;
    if (need > this.carry.length) {
      const larger = new Uint8Array(Math.max(need, this.carry.length * 2));
      larger.set(this.carry.subarray(0, this.carried));
      this.carry = larger;
    }
    this.carry.set(chunk.subarray(from, to), this.carried);
    this.carried = need;
  }
}

/** Bytes of the whole packet that begins at `at`, or 0 when its length is not yet there. */
export function frameLength(bytes: Uint8Array, at: number, end: number): number {
  let remaining = 0;
  for (let i = 0; i < 4; i++) {
    const place = at + 1 + i;
    if (place >= end) return 0;
    const byte = byteAt(bytes, place);
    remaining += (byte & 0x7f) * 128 ** i;
    if (byte < 0x80) return 2 + i + remaining;
  }
  throw new WireError("malformed remaining length");
}

/** Bytes of a property table that begins at `at`, its own length included. */
function propertiesLength(bytes: Uint8Array, at: number, end: number): number {
  const total = frameLength(bytes, at - 1, end);
  if (total === 0) throw new WireError("malformed PUBLISH: its properties are cut off");
  return total - 1;
}

/**
 * The receive maximum of a v5 CONNACK body: the broker's limit on QoS 1 and 2 in flight
 * [MQTT-3.3.4-9]; 65,535 when it does not say.
 */
export function receiveMaximum(body: Uint8Array): number {
  // Bytes of each property's value; -1: a string with its length before it.
  const sizes: Record<number, number> = {
    17: 4,
    18: -1,
    19: 2,
    21: -1,
    22: -1,
    26: -1,
    28: -1,
    31: -1,
    33: 2,
    34: 2,
    36: 1,
    37: 1,
    38: -1,
    39: 4,
    40: 1,
    41: 1,
    42: 1,
  };
  let at = 2;
  while (at < body.length && byteAt(body, at++) > 0x7f);
  while (at < body.length) {
    const id = byteAt(body, at++);
    if (id === 33 && at + 2 <= body.length) return (byteAt(body, at) << 8) | byteAt(body, at + 1);
    at += valueLength(body, at, id, sizes[id]);
  }
  return 0xffff;
}

function valueLength(body: Uint8Array, at: number, id: number, size: number | undefined): number {
  if (size === undefined) throw new WireError(`CONNACK with an unknown property ${id}`);
  if (size >= 0) return size;
  const string = (from: number): number =>
    from + 2 > body.length ? 2 : 2 + ((byteAt(body, from) << 8) | byteAt(body, from + 1));
  const first = string(at);
  return id === 38 ? first + string(at + first) : first;
}
