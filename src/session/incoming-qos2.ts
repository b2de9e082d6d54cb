/**
 * Packet ids of QoS 2 messages that a client has sent and not yet released with PUBREL. The message of an id
 * is published once [MQTT-4.3.3-10]: a second PUBLISH with it only gets its PUBREC again.
 */
import type { Config } from "../config/schema.js";
import { ProtocolError } from "../protocol/protocol-error.js";
import { ReasonCode } from "../protocol/reason-codes.js";
import type { Message } from "../routing/message.js";
import type { Acks } from "./acks.js";

/** What MQTT 5 clients are told: QoS 1 and 2 publishes that they may have under way. */
export function receiveMaximumOf(limits: Config["limits"]): number {
  return Math.min(limits.receive_maximum, limits.open_qos2);
}

/**
 * Takes note of a QoS 2 publish. Is it the first PUBLISH of its packet id? Another one only gets its PUBREC again.
 * `openMax`: ids that may be open.
 * @throws ProtocolError receive maximum exceeded: more ids are open than an MQTT 3 client may have
 */
export function opensExchange(
  incoming: IncomingQos2,
  message: Message,
  acks: Acks,
  openMax: number,
  version: number,
): boolean {
  const { packetId } = message;
  if (!incoming.has(packetId)) {
    if (incoming.size >= openMax) {
      // Those of an earlier connection are among them: an MQTT 5 client has kept to what it was told.
      if (version !== 5) throw new ProtocolError(ReasonCode.ReceiveMaximumExceeded);
      message.refused = ReasonCode.QuotaExceeded;
    }
    incoming.add(packetId, null);
    return true;
  }
  incoming.again(packetId);
  const unaccepted = incoming.unaccepted(packetId);
  if (unaccepted === null) {
    message.matched = 1;
    acks.published(message);
  } else if (unaccepted.sink !== acks) {
    // It was sent on an earlier connection; this one answers when it is accepted.
    unaccepted.sink = acks;
    acks.published(unaccepted);
  }
  return false;
}

export class IncomingQos2 {
  /** The message while it is not accepted, then null. */
  private readonly open = new Map<number, Message | null>();
  /** Ids whose PUBLISH came on an earlier connection: they do not count for this one [MQTT5 4.9]. */
  private inherited: Set<number> | null = null;

  get size(): number {
    return this.open.size;
  }

  /** Ids whose PUBLISH came on this connection. */
  get fresh(): number {
    return this.open.size - (this.inherited === null ? 0 : this.inherited.size);
  }

  /** The client is back on another connection. */
  onNewConnection(): void {
    this.inherited = this.open.size === 0 ? null : new Set(this.open.keys());
  }

  /** Ids whose PUBLISH came on this connection, each of them. */
  *freshIds(): Iterable<number> {
    for (const id of this.open.keys()) if (this.inherited?.has(id) !== true) yield id;
  }

  /** The connection is the one there was at another node: these ids are of its own. */
  onSameConnection(fresh: ReadonlySet<number>): void {
    this.onNewConnection();
    for (const id of fresh) this.inherited?.delete(id);
  }

  /** The PUBLISH of an open id came once more. */
  again(packetId: number): void {
    this.inherited?.delete(packetId);
  }

  has(packetId: number): boolean {
    return this.open.has(packetId);
  }

  /** The message of an open id that is not accepted yet. */
  unaccepted(packetId: number): Message | null {
    return this.open.get(packetId) ?? null;
  }

  /** `message`: null when it is accepted already. */
  add(packetId: number, message: Message | null): void {
    this.open.set(packetId, message);
  }

  /** The message of this id is accepted. */
  accepted(packetId: number): void {
    if (this.open.has(packetId)) this.open.set(packetId, null);
  }

  /** PUBREL, or a refusal, ends the exchange. False: the id was not open. */
  release(packetId: number): boolean {
    this.inherited?.delete(packetId);
    return this.open.delete(packetId);
  }

  /** Open ids, and their messages while they are not accepted. */
  entries(): Iterable<[number, Message | null]> {
    return this.open;
  }
}
