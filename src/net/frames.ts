/**
 * PUBLISH frames that had to be encoded, each once per shape however many clients get it. Frames of one
 * shape are put side by side, so that outputs can copy several together (output.ts). Encoded bytes
 * never change afterwards.
 */
import type { Message } from "../routing/message.js";
import {
  dupFlag,
  headerBytes,
  publishRemaining,
  publishShape,
  type Qos,
  writePublishHead,
} from "../protocol/publish.js";

const arenaBytes = 65_536;
/** Of a PUBLISH whose client knows the topic's alias. */
const noName = Buffer.alloc(0);

class Arena {
  bytes: Buffer = Buffer.alloc(0);
  used = 0;
  message: Message | null = null;
  start = 0;
  end = 0;
}

export class FrameEncoder {
  /** Where the frame of the last `encode` is. */
  bytes: Buffer = Buffer.alloc(0);
  start = 0;
  end = 0;
  private readonly arenas = new Map<number, Arena>();

  /** Encodes a message for clients of a version; the packet id in it is to be replaced. */
  encode(message: Message, version: number, qos: Qos, retain: boolean): void {
    const shape = publishShape(version, qos, retain);
    let arena = this.arenas.get(shape);
    if (arena === undefined) {
      arena = new Arena();
      this.arenas.set(shape, arena);
    }
    if (arena.message !== message) fill(arena, message, version, qos, retain);
    this.bytes = arena.bytes;
    this.start = arena.start;
    this.end = arena.end;
  }

  /**
   * A frame for one client only: with DUP set, with its subscription identifiers, or with a topic alias (0:
   * none) beside the topic's name or instead of it.
   */
  encodeAlone(
    message: Message,
    version: number,
    qos: Qos,
    retain: boolean,
    dup: boolean,
    packetId: number,
    ids: readonly number[] | null,
    alias: number,
    withName: boolean,
  ): Buffer {
    const name = withName ? message.topic.bytes : noName;
    const remaining = remainingOf(message, version, qos, name, ids, alias);
    const bytes = Buffer.allocUnsafe(headerBytes(remaining) + remaining);
    const first = (publishShape(version, qos, retain) & 0xff) | (dup ? dupFlag : 0);
    write(bytes, 0, message, first, remaining, name, packetId, version, ids, alias);
    return bytes;
  }

  /** Lets go of the messages that were encoded last. */
  forget(): void {
    for (const arena of this.arenas.values()) arena.message = null;
  }
}

function fill(arena: Arena, message: Message, version: number, qos: Qos, retain: boolean): void {
  const name = message.topic.bytes;
  const remaining = remainingOf(message, version, qos, name, null, 0);
  const length = headerBytes(remaining) + remaining;
  if (arena.used + length > arena.bytes.length) {
    arena.bytes = Buffer.allocUnsafeSlow(Math.max(arenaBytes, length));
    arena.used = 0;
  }
  const first = publishShape(version, qos, retain) & 0xff;
  const packetId = qos === 0 ? 0 : 1;
  write(arena.bytes, arena.used, message, first, remaining, name, packetId, version, null, 0);
  arena.start = arena.used;
  arena.used += length;
  arena.end = arena.used;
  arena.message = message;
}

function remainingOf(
  message: Message,
  version: number,
  qos: Qos,
  name: Buffer,
  ids: readonly number[] | null,
  alias: number,
): number {
  return publishRemaining(
    name.length,
    qos,
    version,
    message.propertiesEnd - message.propertiesStart,
    ids,
    message.payloadLength,
    alias,
  );
}

function write(
  out: Buffer,
  at: number,
  message: Message,
  first: number,
  remaining: number,
  name: Buffer,
  packetId: number,
  version: number,
  ids: readonly number[] | null,
  alias: number,
): void {
  const { bytes, payloadStart } = message;
  const payloadAt = writePublishHead(
    out,
    at,
    first,
    remaining,
    name,
    packetId,
    version,
    bytes,
    message.propertiesStart,
    message.propertiesEnd,
    ids,
    alias,
  );
  const length = message.payloadEnd - payloadStart;
  out.set(new Uint8Array(bytes.buffer, bytes.byteOffset + payloadStart, length), payloadAt);
}
