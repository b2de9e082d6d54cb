/**
 * Messages that several sessions of this node are due, stored once: records of the partition `bodies`, to which the
 * logs of sessions point. A record is freed when the last session is done with the last of its messages. Only
 * for a store whose commits are atomic over partitions: a body and those who point to it are written together.
 */
import type { TopicTable } from "../../routing/topic.js";
import type { Message } from "../../routing/message.js";
import type { Journaled } from "../../store/journaled.js";
import { numberKey } from "../../store/keys.js";
import { openRecord, sealRecord } from "../../store/record.js";
import type { Operation, Store } from "../../store/store.js";
import type { CommitGroups } from "../host.js";
import { ByteReader, ByteWriter } from "./bytes.js";
import { MessageReader, MessageWriter } from "./message-codec.js";

export const bodyVersion = 1;
export const bodiesPartition = "bodies";
/** A record that is not done with holds no more than this in the store, or one large message. */
const recordBytes = 64 * 1024;
/** Records kept in memory while sessions read them. */
const cachedMax = 64;

interface Written {
  readonly number: number;
  readonly record: Buffer;
}

export class Bodies implements Journaled {
  readonly partition = bodiesPartition;
  readonly fence = undefined;
  touched = false;
  /** How often sessions point to each record. */
  private readonly pointers = new Map<number, number>();
  /** Records to which nobody points any more; none of them is pointed to again. */
  private dead: number[] = [];
  private full: Written[] = [];
  private next = 1;
  private places = 0;
  private readonly out = new ByteWriter();
  private readonly writer = new MessageWriter(this.out);
  private readonly cache = new Map<number, readonly Message[]>();

  constructor(
    private readonly store: Store,
    private readonly commits: CommitGroups,
    private readonly topics: TopicTable,
    /** What makes wall-clock time of monotonic time, now. */
    private readonly wallOffsetMs: () => number,
  ) {}

  /** Records that are kept. */
  get size(): number {
    return this.pointers.size;
  }

  /** One more session points to a message: `message.body` and `bodyIndex` say where. */
  take(message: Message): void {
    const pointers = message.body === 0 ? undefined : this.pointers.get(message.body);
    if (pointers === undefined) this.put(message);
    else this.pointers.set(message.body, pointers + 1);
  }

  /** A session is done with a message of a record. */
  release(number: number): void {
    const pointers = this.pointers.get(number);
    if (pointers === undefined) return;
    if (pointers > 1) {
      this.pointers.set(number, pointers - 1);
      return;
    }
    // What is not written yet is left out when it would be.
    if (number === this.next) {
      this.pointers.set(number, 0);
      return;
    }
    this.pointers.delete(number);
    this.cache.delete(number);
    this.dead.push(number);
    this.commits.touch(this);
  }

  /** At start: a session points to a message of this record. */
  restorePointer(number: number): void {
    this.pointers.set(number, (this.pointers.get(number) ?? 0) + 1);
    if (number >= this.next) this.next = number + 1;
  }

  /** At start, after all pointers: a record that is in the store. */
  restoreRecord(number: number): void {
    if (number >= this.next) this.next = number + 1;
    if (this.pointers.has(number)) return;
    this.dead.push(number);
    this.commits.touch(this);
  }

  /** The messages of records; those that cannot be read are missing. */
  async load(numbers: ReadonlySet<number>): Promise<Map<number, readonly Message[]>> {
    const found = new Map<number, readonly Message[]>();
    for (const number of numbers) {
      const messages = this.cache.get(number) ?? (await this.read(number));
      if (messages !== undefined) found.set(number, messages);
    }
    return found;
  }

  collect(into: Operation[]): void {
    this.closeRecord();
    for (const { number, record } of this.full) {
      // A short life: everybody was done with it before it was written.
      if (this.pointers.has(number)) {
        into.push({ kind: "put", key: numberKey(number), value: sealRecord(bodyVersion, record) });
      }
    }
    for (const number of this.dead) into.push({ kind: "delete", key: numberKey(number) });
    this.full = [];
    this.dead = [];
  }

  committed(): void {
    // Nobody waits for it: sessions wait for their own part of the same commit.
  }

  fenced(): void {
    // It has no owner but this node.
  }

  private put(message: Message): void {
    if (this.out.length > recordBytes) this.closeRecord();
    if (this.places === 0) {
      this.writer.begin();
      this.commits.touch(this);
    }
    message.body = this.next;
    message.bodyIndex = this.places++;
    this.pointers.set(this.next, (this.pointers.get(this.next) ?? 0) + 1);
    this.writer.write(message, null, false, this.wallOffsetMs());
  }

  private closeRecord(): void {
    if (this.places === 0) return;
    const record = this.out.take();
    const number = this.next++;
    this.places = 0;
    if (this.pointers.get(number) === 0) this.pointers.delete(number);
    else this.full.push({ number, record });
    this.out.clear(4 * recordBytes);
  }

  private async read(number: number): Promise<readonly Message[] | undefined> {
    const key = numberKey(number);
    const [row] = await this.store.read(bodiesPartition, key, 1);
    if (row === undefined || row[0] !== key) return undefined;
    const body = openRecord(bodyVersion, row[1]);
    if (body === null) return undefined;
    const messages = readBodies(body, this.topics, this.wallOffsetMs());
    if (this.cache.size >= cachedMax) {
      const [oldest] = this.cache.keys();
      if (oldest !== undefined) this.cache.delete(oldest);
    }
    for (const message of messages) message.body = number;
    if (this.pointers.has(number)) this.cache.set(number, messages);
    return messages;
  }
}

function readBodies(body: Buffer, topics: TopicTable, wallOffsetMs: number): Message[] {
  const input = new ByteReader(body);
  const reader = new MessageReader(input);
  const messages: Message[] = [];
  while (!input.done) {
    reader.read();
    const { expiresWallMs } = reader;
    const expiresMs = expiresWallMs === 0 ? 0 : Math.max(1, expiresWallMs - wallOffsetMs);
    const message = reader.message(topics, expiresMs);
    message.bodyIndex = messages.length;
    messages.push(message);
  }
  return messages;
}
