/**
 * What becomes of retained messages of a node that was away for longer than deletions are remembered: it takes the set of those
 * who were not. Of what it had before it left, it forgets what a peer that it was linked with then does not have any more; what
 * it took alone, after its links were gone, stays and is compared like anything else. Nothing is exchanged with such a peer
 * before that. Two nodes that were both away hold what they hold.
 */
import type { Clock } from "../lib/clock.js";
import { ticksPerMs } from "../lib/hlc.js";
import type { RetainedStore } from "./retained.js";
import { retainedBucket } from "./retained-digest.js";
import type { RetainedEntry } from "./retained-entry.js";

/** What the notes are written for, in parts of `cluster.forget_after`; not more often than once a second. */
const notesPerAbsence = 1000;
const noteMsMin = 1000;

interface Away {
  /** Who was there when this node left. */
  readonly peers: ReadonlySet<string>;
  /** What it had when it left has this stamp or a lower one. */
  readonly untilStamp: number;
}

/** A peer sends all that it has in the buckets that differ. */
interface Comparison {
  readonly peer: string;
  readonly differing: ReadonlySet<number>;
  readonly topics: Set<string>;
}

export class RetainedAbsence {
  /** Null: it was not away, or has the others' set by now. */
  private away: Away | null = null;
  /** Peers that were away as well. */
  private readonly fellows = new Set<string>();
  private comparison: Comparison | null = null;
  /** When the last link went, on the wall clock; 0: it did not. */
  private aloneMs = 0;

  constructor(
    private readonly store: RetainedStore,
    private readonly clock: Clock,
    /** Names of the peers that are not down. */
    private readonly peers: () => readonly string[],
    private readonly forgetAfterMs: number,
  ) {}

  /** What is stored was loaded. To be called before there are links. */
  begin(): void {
    const { lastAlive } = this.store;
    const nowMs = this.clock.wallMs();
    if (lastAlive !== null && nowMs - lastAlive.aliveMs >= this.forgetAfterMs) {
      const { aliveMs, linkedMs, peers } = lastAlive;
      const untilMs = linkedMs === aliveMs ? nowMs : linkedMs;
      this.away = { peers: new Set(peers), untilStamp: untilMs * ticksPerMs };
    }
    this.noteLater();
  }

  /** A peer is down. */
  onDown(): void {
    if (this.peers().length === 0) this.aloneMs = this.clock.wallMs();
  }

  /** May what is held here be older than what that peer has forgotten? Then nothing is compared before it has been asked. */
  isOutdatedFor(peer: string): boolean {
    return this.away?.peers.has(peer) === true && !this.fellows.has(peer);
  }

  /** The peer was away too. Returns whether this node was. */
  meet(peer: string): boolean {
    if (this.away?.peers.has(peer) !== true) return false;
    this.fellows.add(peer);
    return true;
  }

  /** The peer will send what it has in these buckets. */
  compare(peer: string, differing: ReadonlySet<number>): void {
    this.comparison = { peer, differing, topics: new Set() };
  }

  /** The peer has an entry of that topic. */
  note(peer: string, topic: string): void {
    if (this.comparison?.peer === peer) this.comparison.topics.add(topic);
  }

  /** The peer has sent all. Returns what is to be forgotten, to be looked at step by step; then `over` is called. */
  *outdated(peer: string): Iterable<RetainedEntry | null> {
    const { away, comparison } = this;
    if (away === null || comparison?.peer !== peer) return;
    const { differing, topics } = comparison;
    for (const entry of this.store.all()) {
      const { topic, stamp } = entry;
      const isOld = stamp <= away.untilStamp && !topics.has(topic);
      yield isOld && differing.has(retainedBucket(topic)) ? entry : null;
    }
  }

  /** This node holds what that peer does. False: it was not asked. */
  over(peer: string): boolean {
    if (this.away === null || this.comparison?.peer !== peer) return false;
    this.away = this.comparison = null;
    this.noteNow();
    return true;
  }

  private noteLater(): void {
    const pauseMs = Math.max(noteMsMin, this.forgetAfterMs / notesPerAbsence);
    this.clock.setTimer(pauseMs, () => {
      if (this.away === null) this.noteNow();
      this.noteLater();
    });
  }

  private noteNow(): void {
    const before = this.store.lastAlive;
    const aliveMs = this.clock.wallMs();
    const peers = [...this.peers()];
    if (peers.length > 0) this.store.noteAlive({ aliveMs, linkedMs: aliveMs, peers });
    else {
      const linkedMs = Math.max(this.aloneMs, before?.linkedMs ?? 0);
      this.store.noteAlive({ aliveMs, linkedMs, peers: [...(before?.peers ?? [])] });
    }
  }
}
