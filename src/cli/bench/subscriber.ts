/**
 * A subscriber of the load generator: acknowledges what it gets, once per read, and counts each
 * message as in order, late, duplicate, or not meant for it. It keeps no payload.
 */
import { Connection, type ConnectionOptions, type Role } from "./connection.js";
import type { Flow } from "./flow.js";
import type { Histogram } from "./histogram.js";
import { arrival, Tally } from "./tally.js";
import { head, publisherOf, type Qos, readUint32, stampBytes, tagOf, type } from "./wire.js";

export interface SubscriberOptions {
  readonly tag: number;
  readonly filter: string;
  readonly qos: Qos;
  readonly sizeBytes: number;
  readonly publishers: number;
  /** The topic subscribed to, of how many that publishers take in turn; 0 of 1: every message is ours. */
  readonly topic: number;
  readonly topics: number;
  /** Each publisher stays on one of the topics. */
  readonly ownTopic: boolean;
  readonly flow: Flow;
  /** Latencies in µs of what was sent from `measuredFromUs` on. */
  readonly latencies: Histogram;
  readonly nowUs: () => number;
}

export class Subscriber implements Role {
  readonly connection: Connection;
  /** Messages that came for the first time; those overtaken are among them. */
  unique = 0;
  duplicates = 0;
  outOfOrder = 0;
  /** Not of this run, of another topic or of another length. */
  foreign = 0;
  /** Messages sent before this moment of the run are not in the latencies. */
  measuredFromUs = Number.POSITIVE_INFINITY;
  /** By publisher, made when its first message comes. */
  private readonly tallies: (Tally | undefined)[];
  private readonly bulk: { [K in "tag" | "topic" | "topics" | "sizeBytes"]: number };
  /** In this read: how many messages, and when it began (-1: not yet asked). */
  private readMessages = 0;
  private readAtUs = -1;

  constructor(
    private readonly options: SubscriberOptions,
    connectionOptions: ConnectionOptions,
  ) {
    const { tag, topic, topics, sizeBytes } = options;
    this.bulk = { tag, topic, topics, sizeBytes };
    this.tallies = Array.from({ length: options.publishers }, () => undefined);
    this.connection = new Connection(connectionOptions, this);
  }

  async open(): Promise<void> {
    await this.connection.open();
    await this.connection.subscribe(this.options.filter, this.options.qos);
  }

  publish(bytes: Uint8Array, at: number, length: number, qos: number, packetId: number): void {
    if (qos === 1) this.connection.queueAck(head.puback, packetId);
    else if (qos === 2) this.connection.queueAck(head.pubrec, packetId);
    this.readMessages++;
    const { tag, topic, topics, sizeBytes } = this.bulk;
    const stamp = length < stampBytes ? 0 : readUint32(bytes, at);
    const publisher = publisherOf(stamp);
    if (length !== sizeBytes || tagOf(stamp) !== tag || publisher >= this.tallies.length) {
      this.foreign++;
      return;
    }
    let index = readUint32(bytes, at + 4);
    if (topics > 1) {
      const { ownTopic } = this.options;
      if ((ownTopic ? publisher : publisher + index) % topics !== topic) {
        this.foreign++;
        return;
      }
      if (!ownTopic) index = Math.floor(index / topics);
    }
    const tally = (this.tallies[publisher] ??= new Tally());
    const result = tally.mark(index);
    if (result === arrival.duplicate) this.duplicates++;
    else {
      this.unique++;
      if (result === arrival.late) this.outOfOrder++;
    }
    if (this.readAtUs < 0) this.readAtUs = this.options.nowUs();
    const sentUs = readUint32(bytes, at + 8);
    if (sentUs >= this.measuredFromUs) {
      this.options.latencies.add(Math.max(0, this.readAtUs - sentUs));
    }
  }

  ack(packetType: number, packetId: number): void {
    // Only PUBREL has business here; a broker that sends another gets no answer, and no harm is done.
    if (packetType === type.pubrel) this.connection.queueAck(head.pubcomp, packetId);
  }

  endOfRead(): void {
    this.connection.sendAcks();
    this.readAtUs = -1;
    if (this.readMessages === 0) return;
    this.options.flow.arrived(this.readMessages);
    this.readMessages = 0;
  }
}
