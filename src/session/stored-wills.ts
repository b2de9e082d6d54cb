/**
 * The wills of connected clients, and of clients that are away for less than their will delay, in the store: `will/<two
 * hex digits>`; and what is known of wills of other nodes' clients (will-notes.ts). A will that is due is first committed as fired, under an identity, and then published; what is found
 * fired after a crash is published once more under the same identity, so that whoever took it drops the repeat. A will
 * of QoS 0, for which nobody remembers anything, is deleted first and published then: once at most.
 */
import { createHash } from "node:crypto";
import { hashString } from "../lib/hash.js";
import type { Message } from "../routing/message.js";
import type { TopicTable } from "../routing/topic.js";
import { numberKey } from "../store/keys.js";
import type { Journaled } from "../store/journaled.js";
import type { Operation } from "../store/store.js";
import type { JournalParts } from "./host.js";
import { type CommittedPublish, CommittedPublishes } from "./journal/committed-publishes.js";
import {
  decodeFired,
  decodeHeld,
  decodeNoted,
  duePrefix,
  encodeFired,
  encodeHeld,
  encodeNoted,
  type FiredWill,
  firedPrefix,
  type HeldWill,
  heldPrefix,
  leftPrefix,
  type NotedWill,
  notedPrefix,
} from "./will-record.js";

const rowsAtOnce = 1024;
const bucketCount = 256;
/** Longer client ids are found by their hash. */
const idCharactersMax = 200;
/** A will, where a QoS 2 publish has "/qos2": its own sequence of numbers. */
const origin = "/wills";

/** Something that is done once its records are committed. */
interface Firing {
  readonly publish: CommittedPublish | null;
  readonly message: Message;
}

interface Due {
  readonly will: HeldWill;
  /** A younger one has taken its place, and it has a record of its own. */
  isStored: boolean;
}

class Bucket implements Journaled {
  readonly fence = undefined;
  touched = false;
  readonly changed = new Map<string, Buffer | null>();
  firing: Firing[] = [];
  private committing: Firing[] = [];

  constructor(
    readonly partition: string,
    private readonly onCommitted: (firing: readonly Firing[]) => void,
  ) {}

  collect(into: Operation[]): void {
    for (const [key, value] of this.changed) {
      into.push(value === null ? { kind: "delete", key } : { kind: "put", key, value });
    }
    this.changed.clear();
    this.committing = this.firing;
    this.firing = [];
  }

  committed(): void {
    const { committing } = this;
    this.committing = [];
    if (committing.length > 0) this.onCommitted(committing);
  }

  /** Nobody else writes here. */
  fenced(): void {
    this.committing = [];
  }
}

export interface StoredWillsHost {
  readonly topics: TopicTable;
  publish(message: Message): void;
  /** That will was fired, for another node maybe, and is not known to be accepted by all. */
  onFound(found: FiredWill): void;
  /** One that was found, and published again, is accepted by all: nothing here will tell of it. */
  onAccepted(found: FiredWill): void;
  /** An earlier process noted that of another node's will. After `onFound` of the same will. */
  onNoted(noted: NotedWill): void;
}

export class StoredWills {
  readonly counters = {
    /** Wills that were found fired and not known to be accepted by all. */
    firedAgain: 0,
    /** Records that could not be read. */
    damaged: 0,
  };
  private readonly buckets = new Map<number, Bucket>();
  private readonly publishes: CommittedPublishes;
  /** Client ids whose wills are in the store, or on their way there, and the epochs of those. */
  private readonly held = new Map<string, number>();
  /** By key: wills that are due and wait for what others say. */
  private readonly due = new Map<string, Due>();
  private recovered: Message[] = [];
  /** Fired and not known to be accepted by all. */
  private open = 0;

  constructor(
    private readonly parts: JournalParts,
    private readonly host: StoredWillsHost,
  ) {
    this.publishes = new CommittedPublishes(
      (message) => host.publish(message),
      () => ({ name: origin, incarnation: parts.incarnation() }),
    );
  }

  /** Wills that were fired and are not known to be accepted by all. */
  get firing(): number {
    return this.open;
  }

  /** Takes up what earlier processes had stored: those not fired yet. The fired ones follow with `publishRecovered`. */
  async load(): Promise<HeldWill[]> {
    const held: HeldWill[] = [];
    for (let number = 0; number < bucketCount; number++) await this.loadBucket(number, held);
    this.recovered.sort(byIdentity);
    if (this.recovered.length > 0) this.publishes.hold();
    return held;
  }

  /** Publishes again, under their identities, those that had been fired. Before anybody connects. */
  publishRecovered(): void {
    const { recovered } = this;
    this.recovered = [];
    this.counters.firedAgain += recovered.length;
    this.publishes.publishLeft(recovered);
  }

  /** The client is connected with this will, or away while its delay runs. Durable with the next commit. */
  hold(will: HeldWill): void {
    const { clientId, epoch } = will;
    // One that is taken up as its client is coming back.
    const before = this.held.get(clientId) ?? 0;
    if (before > epoch) return;
    if (before < epoch) this.keepDue(clientId, before);
    this.held.set(clientId, epoch);
    this.set(clientId, heldKey(clientId), encodeHeld(will));
  }

  /** Is the will of that connection in the store, and not fired? */
  has(clientId: string, epoch: number): boolean {
    return this.held.get(clientId) === epoch || this.due.has(dueKey(clientId, epoch));
  }

  /** Is one of that client in the store, of whatever connection? */
  hasOf(clientId: string): boolean {
    return this.held.has(clientId);
  }

  /** The client has no will any more, if it had one up to that epoch. */
  drop(clientId: string, epoch: number): void {
    this.dropDue(clientId, epoch);
    const held = this.held.get(clientId);
    if (held === undefined || held > epoch) return;
    this.held.delete(clientId);
    this.set(clientId, heldKey(clientId), null);
  }

  /** That will is due, and waits for what others say: until it is dropped or fired a younger one does not take its place. */
  waits(will: HeldWill): void {
    const key = dueKey(will.clientId, will.epoch);
    if (!this.due.has(key)) this.due.set(key, { will, isStored: false });
  }

  /** A younger one of the client is about to take its place in the store. */
  private keepDue(clientId: string, epoch: number): void {
    const key = dueKey(clientId, epoch);
    const due = this.due.get(key);
    if (due === undefined || due.isStored) return;
    due.isStored = true;
    this.set(clientId, key, encodeHeld(due.will));
  }

  private dropDue(clientId: string, epoch: number): void {
    const key = dueKey(clientId, epoch);
    if (this.due.get(key)?.isStored) this.set(clientId, key, null);
    this.due.delete(key);
  }

  /** Keeps what is known of another node's will, in place of what was. Durable with the next commit. */
  note(noted: NotedWill): void {
    this.set(noted.clientId, notedKey(noted), encodeNoted(noted));
  }

  /** That is not needed any more. */
  forgetNote(noted: Omit<NotedWill, "process">): void {
    this.set(noted.clientId, notedKey(noted), null);
  }

  /**
   * The will is due: publishes the message once that is durable. `message.pending` is not 0 then, and
   * `message.sink` is told when all have accepted it.
   */
  fire(fired: FiredWill): void {
    const { message, epoch } = fired;
    const { publisher } = message;
    this.drop(publisher, epoch);
    const bucket = this.bucketOf(publisher);
    if (message.qos === 0) {
      message.pending = 1;
      bucket.firing.push({ publish: null, message });
      this.parts.commits.touch(bucket);
      return;
    }
    const publish = this.publishes.add(message);
    this.open++;
    const key = this.settle(message);
    bucket.firing.push({ publish, message });
    this.set(publisher, key, encodeFired(fired, this.wallOffsetMs()));
  }

  /** Forgets a fired will when all have accepted it. Returns the key of its record. */
  private settle(message: Message): string {
    const key = firedKey(message);
    const { sink } = message;
    message.sink = {
      onAccepted: (accepted) => {
        this.open--;
        this.set(message.publisher, key, null);
        sink?.onAccepted(accepted);
      },
    };
    return key;
  }

  private onCommitted(firing: readonly Firing[]): void {
    for (const { publish, message } of firing) {
      if (publish === null) this.publishes.publishNow(message);
      else publish.isCommitted = true;
    }
    // Whoever takes one of this process takes none of an earlier one any more.
    if (this.recovered.length === 0) this.publishes.proceed();
  }

  private async loadBucket(number: number, held: HeldWill[]): Promise<void> {
    const { partition } = this.bucketAt(number);
    let from = "";
    for (;;) {
      const rows = await this.parts.store.read(partition, from, rowsAtOnce);
      for (const [key, record] of rows) this.restore(key, record, held);
      const last = rows.at(-1);
      if (last === undefined || rows.length < rowsAtOnce) return;
      from = `${last[0]}\0`;
    }
  }

  private restore(key: string, record: Buffer, held: HeldWill[]): void {
    if (key.startsWith(firedPrefix)) {
      const fired = decodeFired(record, this.host.topics, origin, this.wallOffsetMs());
      if (fired === null) this.counters.damaged++;
      else {
        const { message } = fired;
        this.host.onFound(fired);
        message.pending = 1;
        message.sink = { onAccepted: () => this.host.onAccepted(fired) };
        this.open++;
        this.settle(message);
        this.recovered.push(message);
      }
      return;
    }
    if (key.startsWith(notedPrefix) || key.startsWith(leftPrefix)) {
      const noted = decodeNoted(record);
      if (noted === null) this.counters.damaged++;
      else this.host.onNoted(noted);
      return;
    }
    const will = decodeHeld(record);
    if (will === null) this.counters.damaged++;
    else if (key.startsWith(duePrefix)) {
      this.due.set(key, { will, isStored: true });
      held.push(will);
    } else {
      this.held.set(will.clientId, will.epoch);
      held.push(will);
    }
  }

  private set(clientId: string, key: string, value: Buffer | null): void {
    const bucket = this.bucketOf(clientId);
    bucket.changed.set(key, value);
    this.parts.commits.touch(bucket);
  }

  private bucketOf(clientId: string): Bucket {
    return this.bucketAt(hashString(clientId) % bucketCount);
  }

  private bucketAt(number: number): Bucket {
    let bucket = this.buckets.get(number);
    if (bucket === undefined) {
      const partition = `will/${number.toString(16).padStart(2, "0")}`;
      bucket = new Bucket(partition, (firing) => this.onCommitted(firing));
      this.buckets.set(number, bucket);
    }
    return bucket;
  }

  /** What makes wall-clock time of monotonic time, now. */
  private wallOffsetMs(): number {
    const { clock } = this.parts;
    return clock.wallMs() - clock.monotonicMs();
  }
}

const heldKey = (clientId: string): string => heldPrefix + idKey(clientId);

const notedKey = ({ owner, by, clientId, epoch }: Omit<NotedWill, "process">): string =>
  `${by === owner ? leftPrefix : notedPrefix}${epoch}${idKey(clientId)}`;

const dueKey = (clientId: string, epoch: number): string =>
  `${duePrefix}${epoch}${idKey(clientId)}`;

function idKey(clientId: string): string {
  const isLong = clientId.length > idCharactersMax;
  const hash = isLong ? createHash("sha256").update(clientId).digest("hex") : "";
  return isLong ? `#${hash}` : `=${clientId}`;
}

function firedKey({ origin: from, identity }: Message): string {
  return firedPrefix + numberKey(from?.incarnation ?? 0) + numberKey(identity);
}

function byIdentity(one: Message, other: Message): number {
  const incarnations = (one.origin?.incarnation ?? 0) - (other.origin?.incarnation ?? 0);
  return incarnations !== 0 ? incarnations : one.identity - other.identity;
}
