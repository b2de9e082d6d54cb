/**
 * Brings the retained messages of two nodes together when their link comes up. Each tells the other
 * one digest per bucket, and sends what it holds in the buckets that differ; the newer stamp wins. A peer
 * that was too slow for a retained message with QoS 0 is asked for its digests when it takes forwards again.
 * When a peer goes down, the others compare anew: what it published last may have reached only some of them.
 * A node that was away for too long takes the others' set first (retained-absence.ts).
 * All of it takes as many turns as it needs: heartbeats and messages must not wait for a million entries.
 */
import type { ClusterPort } from "../cluster/ports.js";
import { forwardHeaderBytes } from "../cluster/wire/frames.js";
import type { Clock } from "../lib/clock.js";
import { Message } from "./message.js";
import { decodeForward, encodeForward } from "./forward.js";
import type { RetainedStore } from "./retained.js";
import { RetainedAbsence } from "./retained-absence.js";
import { retainedBucket, retainedBuckets } from "./retained-digest.js";
import type { RetainedEntry } from "./retained-entry.js";
import type { TopicTable } from "./topic.js";

const digestKind = 1;
const entryKind = 2;
const askKind = 3;
/** What becomes of a node that was away for too long: retained-absence.ts, docs/wire.md ("TELL"). */
const awayKind = 4;
const countsKind = 5;
const digestToEndKind = 6;
const endKind = 7;
const fellowKind = 8;
const nothing = Buffer.alloc(0);

/** Entries looked at in one turn. */
const entriesPerTurn = 2000;
/** More than so much is not left waiting at a link, where heartbeats would be behind it. */
const backlogMax = 262_144;
const backlogPauseMs = 20;

/** What one peer is still to be sent. */
interface Answer {
  readonly peer: number;
  readonly differing: ReadonlySet<number>;
  readonly entries: Iterator<RetainedEntry>;
  /** The peer is told when all is sent. */
  readonly tellsEnd: boolean;
}

export class RetainedSync {
  readonly counters = { entriesSent: 0, entriesTaken: 0, missed: 0, outdatedForgotten: 0 };
  /** Peers that were sent less than all. */
  private readonly behind = new Set<number>();
  /** By peer: the answer to its latest digests. */
  private readonly answers = new Map<number, Answer>();
  private readonly absence: RetainedAbsence;

  constructor(
    private readonly cluster: ClusterPort,
    private readonly store: RetainedStore,
    private readonly topics: TopicTable,
    private readonly clock: Clock,
    /** How long deletions are remembered. */
    forgetAfterMs = Number.POSITIVE_INFINITY,
  ) {
    const peers = (): string[] => cluster.livePeers().map((peer) => cluster.nameOf(peer));
    this.absence = new RetainedAbsence(store, clock, peers, forgetAfterMs);
  }

  /** What is stored was loaded; before there are links. */
  begin(): void {
    this.absence.begin();
  }

  /** The peer did not get a retained message. */
  missed(peer: number): void {
    this.counters.missed++;
    this.behind.add(peer);
  }

  /** The peer takes forwards again: what does it lack? */
  catchUp(peer: number): void {
    if (this.behind.delete(peer)) this.cluster.tell(peer, Buffer.of(askKind));
  }

  /** Somebody who may have told only some of us is gone. */
  onDown(): void {
    this.absence.onDown();
    this.startAll();
  }

  private startAll(): void {
    for (const peer of this.cluster.livePeers()) {
      this.start(peer);
      this.cluster.tell(peer, Buffer.of(askKind));
    }
  }

  /** A link came up: says what we have. */
  start(peer: number): void {
    if (this.absence.isOutdatedFor(this.cluster.nameOf(peer))) this.tellKind(peer, awayKind);
    else this.tellDigest(peer, digestKind);
  }

  /** @throws Error when the body makes no sense */
  onTold(peer: number, body: Buffer): void {
    const name = this.cluster.nameOf(peer);
    const [kind] = body;
    const isDigest = kind === digestKind || kind === countsKind || kind === digestToEndKind;
    if (isDigest && body.length === 1 + retainedBuckets * 4) this.onDigest(peer, name, body);
    else if (kind === entryKind) this.absence.note(name, this.take(body));
    else if (kind === askKind) this.start(peer);
    else if (kind === awayKind) this.onAway(peer, name);
    else if (kind === endKind) this.forgetOutdated(name, this.absence.outdated(name));
    else if (kind === fellowKind) {
      this.absence.meet(name);
      this.start(peer);
    } else throw new Error("retained sync: unknown message");
  }

  private onDigest(peer: number, name: string, body: Buffer): void {
    const isOutdated = this.absence.isOutdatedFor(name);
    if (body[0] === countsKind && isOutdated) {
      this.absence.compare(name, this.differing(body));
      this.tellDigest(peer, digestToEndKind);
    } else if (body[0] === countsKind) this.start(peer);
    // What we have is told when we have theirs.
    else if (!isOutdated) this.answer(peer, body);
  }

  /** The peer was away for too long; maybe we were too. */
  private onAway(peer: number, name: string): void {
    if (!this.absence.meet(name)) {
      this.tellDigest(peer, countsKind);
      return;
    }
    this.tellKind(peer, fellowKind);
    this.start(peer);
  }

  private forgetOutdated(name: string, outdated: Iterable<RetainedEntry | null>): void {
    const entries = outdated[Symbol.iterator]();
    const some = (): void => {
      for (let left = entriesPerTurn; left > 0; left--) {
        const next = entries.next();
        if (next.done) {
          if (this.absence.over(name)) this.startAll();
          return;
        }
        if (next.value === null) continue;
        this.counters.outdatedForgotten++;
        this.store.forgetEntry(next.value);
      }
      this.clock.defer(some);
    };
    some();
  }

  private tellKind(peer: number, kind: number): void {
    this.cluster.tell(peer, Buffer.of(kind));
  }

  private tellDigest(peer: number, kind: number): void {
    const body = Buffer.alloc(1 + retainedBuckets * 4);
    body.writeUInt8(kind, 0);
    this.store.digests().forEach((digest, i) => void body.writeUInt32BE(digest, 1 + i * 4));
    this.cluster.tell(peer, body);
  }

  private differing(theirs: Buffer): Set<number> {
    const differing = new Set<number>();
    this.store.digests().forEach((digest, i) => {
      if (digest !== theirs.readUInt32BE(1 + i * 4)) differing.add(i);
    });
    return differing;
  }

  private answer(peer: number, theirs: Buffer): void {
    const differing = this.differing(theirs);
    const tellsEnd = theirs[0] === digestToEndKind;
    this.answers.delete(peer);
    if (differing.size === 0 && !tellsEnd) return;
    const entries = this.store.all()[Symbol.iterator]();
    const answer = { peer, differing, entries, tellsEnd };
    this.answers.set(peer, answer);
    this.send(answer);
  }

  /** Sends as much as this turn and the link allow, and goes on later; what changes meanwhile is forwarded. */
  private send(answer: Answer): void {
    const { peer, differing, entries } = answer;
    if (this.answers.get(peer) !== answer) return;
    for (let left = entriesPerTurn; left > 0; left--) {
      const backlog = this.cluster.tellBacklog(peer);
      if (backlog > backlogMax) {
        // Without a link the next one begins with new digests.
        if (backlog === Number.POSITIVE_INFINITY) this.answers.delete(peer);
        else this.clock.setTimer(backlogPauseMs, () => this.send(answer));
        return;
      }
      const next = entries.next();
      if (next.done) {
        this.answers.delete(peer);
        if (answer.tellsEnd) this.tellKind(peer, endKind);
        return;
      }
      if (differing.has(retainedBucket(next.value.topic))) this.sendEntry(peer, next.value);
    }
    this.clock.defer(() => this.send(answer));
  }

  private sendEntry(peer: number, entry: RetainedEntry): void {
    const message = this.messageOf(entry);
    const encoded = encodeForward(message, message.qos, this.clock);
    // The place of the header of a forward is not needed here, except for the kind.
    const body = encoded.subarray(forwardHeaderBytes - 1);
    body[0] = entryKind;
    this.cluster.tell(peer, body);
    this.counters.entriesSent++;
  }

  /** Returns its topic. */
  private take(body: Buffer): string {
    const message = decodeForward(this.topics, body, 1, body.length, this.clock);
    this.cluster.observeStamp(message.stamp);
    if (this.store.set(message) === "stored") this.counters.entriesTaken++;
    return message.topic.name;
  }

  /** A tombstone travels as what it was: an empty retained message. */
  private messageOf(entry: RetainedEntry): Message {
    const held = entry.message;
    if (held !== null) return held;
    const topic = this.topics.internName(entry.topic);
    const message = new Message(topic, 0, true, entry.publisher, nothing, 0, 0, 0, 0);
    message.stamp = entry.stamp;
    return message;
  }
}
