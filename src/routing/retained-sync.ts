/**
 * Brings the retained messages of two nodes together when their link comes up. Each tells the other
 * one digest per bucket, and sends what it holds in the buckets that differ, a batch at a time; the newer
 * stamp wins. A peer that was too slow for a retained message with QoS 0 is asked for its digests when it
 * takes forwards again. When a peer goes down, the others compare anew: what it published last may have
 * reached only some of them.
 */
import type { ClusterPort } from "../cluster/ports.js";
import { forwardHeaderBytes } from "../cluster/wire/frames.js";
import { Message } from "./message.js";
import { decodeForward, encodeForward } from "./forward.js";
import {
  type RetainedEntry,
  type RetainedStore,
  retainedBucket,
  retainedBuckets,
} from "./retained.js";
import type { TopicTable } from "./topic.js";

const digestKind = 1;
const entryKind = 2;
const askKind = 3;
const moreKind = 4;
const goOnKind = 5;
/** Entries and bytes that may be under way to a peer before it says that it has taken them. */
const batchEntries = 500;
const batchBytes = 256 * 1024;
const nothing = Buffer.alloc(0);

export class RetainedSync {
  readonly counters = { entriesSent: 0, entriesTaken: 0, missed: 0 };
  /** Peers that were sent less than all. */
  private readonly behind = new Set<number>();
  /** Topics that are still to be sent to a peer, by its index. */
  private readonly due = new Map<number, string[]>();

  constructor(
    private readonly cluster: ClusterPort,
    private readonly store: RetainedStore,
    private readonly topics: TopicTable,
  ) {}

  /** The peer did not get a retained message. */
  missed(peer: number): void {
    this.counters.missed++;
    this.behind.add(peer);
  }

  /** The peer takes forwards again: what does it lack? */
  catchUp(peer: number): void {
    if (this.behind.delete(peer)) this.cluster.tell(peer, Buffer.of(askKind));
  }

  /** A peer is gone; it may have told only some of us what it published last. */
  onPeerDown(gone: number): void {
    this.due.delete(gone);
    this.behind.delete(gone);
    for (const peer of this.cluster.livePeers()) {
      this.start(peer);
      this.cluster.tell(peer, Buffer.of(askKind));
    }
  }

  /** A link came up: says what we have. */
  start(peer: number): void {
    const body = Buffer.alloc(1 + retainedBuckets * 4);
    body.writeUInt8(digestKind, 0);
    this.store.digests().forEach((digest, i) => void body.writeUInt32BE(digest, 1 + i * 4));
    this.cluster.tell(peer, body);
  }

  /** @throws Error when the body makes no sense */
  onTold(peer: number, body: Buffer): void {
    const kind = body[0];
    if (kind === digestKind && body.length === 1 + retainedBuckets * 4) this.answer(peer, body);
    else if (kind === entryKind) this.take(body);
    else if (kind === askKind) this.start(peer);
    else if (kind === moreKind) this.cluster.tell(peer, Buffer.of(goOnKind));
    else if (kind === goOnKind) this.sendSome(peer);
    else throw new Error("retained sync: unknown message");
  }

  private answer(peer: number, theirs: Buffer): void {
    const differing = new Set<number>();
    this.store.digests().forEach((digest, i) => {
      if (digest !== theirs.readUInt32BE(1 + i * 4)) differing.add(i);
    });
    if (differing.size === 0) return;
    const due: string[] = [];
    for (const { topic } of this.store.all()) {
      if (differing.has(retainedBucket(topic))) due.push(topic);
    }
    this.due.set(peer, due);
    this.sendSome(peer);
  }

  /** Sends the next batch; the peer asks for the one after it. */
  private sendSome(peer: number): void {
    const due = this.due.get(peer);
    if (due === undefined) return;
    let bytes = 0;
    for (let sent = 0; sent < batchEntries && bytes < batchBytes; sent++) {
      const topic = due.pop();
      if (topic === undefined) {
        this.due.delete(peer);
        return;
      }
      bytes += this.sendEntry(peer, topic);
    }
    this.cluster.tell(peer, Buffer.of(moreKind));
  }

  /** Returns the bytes sent: what is there now, which may be newer than what was compared. */
  private sendEntry(peer: number, topic: string): number {
    const entry = this.store.get(topic);
    if (entry === undefined) return 0;
    const message = this.messageOf(entry);
    const frame = encodeForward(message, message.qos);
    // The place of the header of a forward is not needed here, except for the kind.
    const body = frame.subarray(forwardHeaderBytes - 1);
    body[0] = entryKind;
    this.cluster.tell(peer, body);
    this.counters.entriesSent++;
    return body.length;
  }

  private take(body: Buffer): void {
    const message = decodeForward(this.topics, body, 1, body.length);
    this.cluster.observeStamp(message.stamp);
    if (this.store.set(message) === "stored") this.counters.entriesTaken++;
  }

  /** A tombstone travels as what it was: an empty retained message. */
  private messageOf(entry: RetainedEntry): Message {
    if (entry.message !== null) return entry.message;
    const topic = this.topics.internName(entry.topic);
    const message = new Message(topic, 0, true, entry.publisher, nothing, 0, 0, 0, 0);
    message.stamp = entry.stamp;
    return message;
  }
}
