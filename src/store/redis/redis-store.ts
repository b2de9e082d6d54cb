/**
 * The store in Redis: one script call per partition and commit, one pipeline per master. Not atomic over
 * partitions: each has its own outcome. Every write carries the generation of this process and a number that grows, so
 * that one which was given up and arrives late changes nothing (scripts.ts).
 */
import { assert } from "../../lib/assert.js";
import { checkNames, checkPartition, compareKeys } from "../keys.js";
import type { Operation, PartitionWrite, Row, Store, StoreFailure } from "../store.js";
import type { Argument } from "./client.js";
import type { Call, Exchange, Outcome } from "./exchange.js";
import { bucketCount, type KeySpace } from "./keys.js";
import { NameMerge } from "./name-merge.js";
import {
  fencedOff,
  namesScript,
  overtaken,
  readScript,
  replaced,
  writeScript,
  wrote,
} from "./scripts.js";

export interface RedisStoreOptions {
  readonly exchange: Exchange;
  readonly keys: KeySpace;
  /** Which opening of this node's space this is. */
  readonly generation: number;
  readonly close: () => void;
}

/** Rows and bytes of one reply. */
const pageRows = 1000;
const pageBytes = 1024 * 1024;
/** Names asked for at a time when all are wanted. */
const pageNames = 4096;

const states = { closed: 0, "half-open": 1, open: 2 };

export class RedisStore implements Store {
  readonly atomic = false;
  private readonly own = { writes: 0, reads: 0, fenced: 0, overtaken: 0, rowsWithoutValue: 0 };
  /** Of the last write that was begun. */
  private number = 0;
  private lastWrite: Promise<unknown> = Promise.resolve();

  constructor(private readonly options: RedisStoreOptions) {}

  /** For metrics. `breaker`: 0 closed, 1 half-open, 2 open. */
  get counters(): Record<string, number> {
    const { exchange } = this.options;
    return { ...this.own, ...exchange.counters, breaker: states[exchange.breakerState] };
  }

  async write(writes: readonly PartitionWrite[]): Promise<readonly (StoreFailure | null)[]> {
    checkNames(writes);
    this.own.writes += writes.length;
    const calls = writes.map((write) => this.writeCall(write));
    // Calls that overlap happen in order.
    const outcomes = this.lastWrite.then(() => this.options.exchange.call(calls, true));
    this.lastWrite = outcomes;
    return (await outcomes).map((outcome, index) => this.judge(outcome, writes[index]));
  }

  async read(partition: string, from = "", limit = Number.POSITIVE_INFINITY): Promise<Row[]> {
    checkPartition(partition);
    this.own.reads++;
    const { bucket, keys } = this.options.keys.partition(partition);
    const rows: Row[] = [];
    let bound = `[${from}`;
    while (rows.length < limit) {
      const count = Math.min(pageRows, limit - rows.length);
      const args = [keys[0], keys[1], bound, String(count), String(pageBytes)];
      const [outcome] = await this.options.exchange.call(
        [{ bucket, script: readScript, args, bytes: 0 }],
        false,
      );
      const [more, ...cells] = replyOf(outcome, `read ${partition}`);
      for (let i = 0; i + 1 < cells.length; i += 2) {
        const key = String(cells[i]);
        const value = cells[i + 1];
        bound = `(${key}`;
        if (Buffer.isBuffer(value)) rows.push([key, value]);
        else this.own.rowsWithoutValue++;
      }
      if (Number(more) !== 1) break;
    }
    return rows;
  }

  /** Each bucket has an index in order: as many names of each as will do are asked for, and merged. */
  async partitions(
    prefix: string,
    after?: string,
    limit = Number.POSITIVE_INFINITY,
  ): Promise<string[]> {
    const names: string[] = [];
    while (names.length < limit) {
      const wanted = Math.min(limit - names.length, pageNames);
      const page = await this.namesPage(prefix, names.at(-1) ?? after, wanted);
      names.push(...page);
      if (page.length < wanted) break;
    }
    return names;
  }

  async flush(): Promise<void> {
    // With store.durability power every answer was given after Redis's own flush; else it is Redis's affair.
  }

  async close(): Promise<void> {
    await this.lastWrite;
    this.options.close();
  }

  private writeCall({ partition, operations, fence }: PartitionWrite): Call {
    const { keys: space, generation } = this.options;
    assert(
      fence === undefined || (Number.isSafeInteger(fence) && fence >= 0),
      "an epoch is no number",
    );
    const { bucket, keys } = space.partition(partition);
    const epoch = fence === undefined ? "" : String(fence);
    const args: Argument[] = [...keys, partition, epoch, String(generation), String(++this.number)];
    let bytes = 500;
    for (const operation of operations) bytes += append(args, operation);
    return { bucket, script: writeScript, args, bytes };
  }

  private judge(
    { reply, failure }: Outcome,
    write: PartitionWrite | undefined,
  ): StoreFailure | null {
    if (failure !== null) return failure;
    const partition = write?.partition ?? "";
    switch (Number(reply)) {
      case wrote:
        return null;
      case fencedOff:
        this.own.fenced++;
        return { kind: "fenced", why: `another owner has written to ${partition}` };
      case overtaken:
        this.own.overtaken++;
        return { kind: "unavailable", why: `a later write to ${partition} came first` };
      case replaced:
        return {
          kind: "broken",
          why:
            "another process uses the same Redis with the same node.name and store.redis.prefix: " +
            "stop one of the two, or give it another name or prefix",
        };
      default:
        return { kind: "broken", why: `Redis gave the answer ${String(reply)} to a write` };
    }
  }

  private async namesPage(
    prefix: string,
    after: string | undefined,
    wanted: number,
  ): Promise<string[]> {
    const merge = new NameMerge(bucketCount, wanted);
    const before = Buffer.from(`(${prefix}`);
    // No name holds this byte, so it is behind all that begin with the prefix.
    const end = Buffer.concat([before, Buffer.of(0xff)]);
    const start =
      after === undefined || compareKeys(after, prefix) < 0 ? `[${prefix}` : `(${after}`;
    for (let open = merge.open(); open.length > 0; open = merge.open()) {
      const calls = open.map((bucket): Call => {
        const last = merge.lastOf(bucket);
        const bound = last === undefined ? start : Buffer.concat([Buffer.from("("), last]);
        const args = [this.options.keys.index(bucket), bound, end, String(merge.pageLength)];
        return { bucket, script: namesScript, args, bytes: 0 };
      });
      const outcomes = await this.options.exchange.call(calls, false);
      for (const [index, bucket] of open.entries()) {
        const names = replyOf(outcomes[index], "list the partitions");
        merge.add(
          bucket,
          names.filter((name) => Buffer.isBuffer(name)),
        );
      }
    }
    return merge.names();
  }
}

/** The bytes that it takes. */
function append(args: Argument[], operation: Operation): number {
  if (operation.kind === "put") {
    const { key, value } = operation;
    const { buffer, byteOffset, byteLength } = value;
    args.push(
      "p",
      key,
      Buffer.isBuffer(value) ? value : Buffer.from(buffer, byteOffset, byteLength),
    );
    return byteLength + 60;
  }
  if (operation.kind === "delete") args.push("d", operation.key);
  else args.push("r", operation.from, operation.to);
  return 60;
}

/** @throws Error when the call failed */
function replyOf(outcome: Outcome | undefined, what: string): unknown[] {
  if (outcome !== undefined && Array.isArray(outcome.reply)) return outcome.reply;
  throw new Error(`cannot ${what}: ${outcome?.failure?.why ?? "Redis gave no list"}`);
}
