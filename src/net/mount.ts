/**
 * A mount point: the clients of a listener live in one branch of the topics and do not know it. What they name
 * gets the branch's name before it, and what they are sent loses it again. Listeners without one go
 * through none of this.
 */
import type { ConnectPacket, ControlPacket } from "../protocol/packets.js";
import type { Qos } from "../protocol/publish.js";
import { filterFault, plainFilter } from "../protocol/topics.js";
import { Message } from "../routing/message.js";
import type { TopicTable } from "../routing/topic.js";
import { Connection } from "./connection.js";
import type { NetCounters } from "./counters.js";
import { Inbound } from "./inbound.js";

export class Mount {
  private readonly bytes: Buffer;

  constructor(
    /** Whole levels: it ends with a slash. */
    private readonly prefix: string,
    private readonly topics: TopicTable,
    private readonly counters: NetCounters,
  ) {
    this.bytes = Buffer.from(prefix, "utf8");
  }

  /**
   * What a client of this listener publishes goes under the mount point.
   * @throws ProtocolError topic name invalid: over 65,535 bytes together
   */
  enter(message: Message): void {
    const name = Buffer.concat([this.bytes, message.topic.bytes]);
    message.topic = this.topics.intern(name, 0, name.length);
    // The frame as it came has another topic.
    message.shape = 0;
  }

  /** For the publishes of one connection. */
  inbound(...parts: ConstructorParameters<typeof Inbound>): Inbound {
    return new MountedInbound(this, ...parts);
  }

  /** The will is published under the mount point. */
  connect(packet: ConnectPacket): ConnectPacket {
    const { will } = packet;
    if (will === null) return packet;
    return { ...packet, will: { ...will, topic: this.prefix + will.topic } };
  }

  control(packet: ControlPacket): ControlPacket {
    if (packet.cmd === "subscribe") {
      const requests = packet.requests.map((request) => {
        return { ...request, filter: this.filter(request.filter) };
      });
      return { ...packet, requests };
    }
    if (packet.cmd !== "unsubscribe") return packet;
    return { ...packet, filters: packet.filters.map((filter) => this.filter(filter)) };
  }

  /** As a client of this listener sees a message; null: it is outside of the mount point. */
  inside(message: Message): Message | null {
    const { bytes } = this;
    const outer = message.topic.bytes;
    const { length } = bytes;
    if (outer.length <= length || outer.compare(bytes, 0, length, 0, length) !== 0) {
      this.counters.outsideMountPoint++;
      return null;
    }
    const inner = new Message(
      this.topics.intern(outer, length, outer.length),
      message.qos,
      message.retain,
      message.publisher,
      message.bytes,
      message.propertiesStart,
      message.propertiesEnd,
      message.payloadStart,
      message.payloadEnd,
    );
    inner.expiresMs = message.expiresMs;
    return inner;
  }

  /** One that is no filter stays as it is, to be refused for what it is. */
  private filter(filter: string): string {
    if (filterFault(filter) !== undefined) return filter;
    const plain = plainFilter(filter);
    return filter.slice(0, filter.length - plain.length) + this.prefix + plain;
  }
}

/** Access rules, like everything behind them, see the whole name. */
class MountedInbound extends Inbound {
  constructor(
    private readonly mount: Mount,
    ...rest: ConstructorParameters<typeof Inbound>
  ) {
    super(...rest);
  }

  protected override isDenied(message: Message): boolean {
    this.mount.enter(message);
    return super.isDenied(message);
  }
}

/** A connection of a listener with a mount point. */
export class MountedConnection extends Connection {
  constructor(
    private readonly mount: Mount,
    ...rest: ConstructorParameters<typeof Connection>
  ) {
    super(...rest);
  }

  override publish(
    message: Message,
    qos: Qos,
    retain: boolean,
    packetId: number,
    subscriptionIds: readonly number[] | null,
  ): boolean {
    const inner = this.mount.inside(message);
    return inner !== null && super.publish(inner, qos, retain, packetId, subscriptionIds);
  }

  override publishRun(): boolean {
    return false;
  }

  override republish(
    message: Message,
    qos: Qos,
    retain: boolean,
    packetId: number,
    subscriptionIds: readonly number[] | null,
  ): boolean {
    const inner = this.mount.inside(message);
    return inner !== null && super.republish(inner, qos, retain, packetId, subscriptionIds);
  }
}
