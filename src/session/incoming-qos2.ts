/**
 * Packet ids of QoS 2 messages that a client has sent and not yet released with PUBREL. The message of an id
 * is published once [MQTT-4.3.3-10]: a second PUBLISH with it only gets its PUBREC again.
 */
import type { Message } from "../routing/message.js";

export class IncomingQos2 {
  /** The message while it is not accepted, then null. */
  private readonly open = new Map<number, Message | null>();

  get size(): number {
    return this.open.size;
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
    return this.open.delete(packetId);
  }

  ids(): number[] {
    return [...this.open.keys()];
  }
}
