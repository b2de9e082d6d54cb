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
  /** Which opening of this node's space this is, or of those who adopt what it left. */
  readonly generation: number;
  /** Another node's space: all who adopt write with one generation, and their writes have no order. */
  readonly adopts: boolean;
  /** Why another process has written with a later generation, for people. */
  readonly whyReplaced: () => Promise<string>;
  readonly close: () => void;
}

/** One partition's write, ready to be sent. */
interface Part {
  readonly partition: string;
  readonly bucket: number;
  readonly keys: readonly string[];
  readonly args: readonly Argument[];
  readonly bytes: number;
}

type WriteTurn = readonly [generation: string, number: string];

/** Most of one call: Redis does nothing else meanwhile. */
const groupParts = 50;
const groupBytes = 128 * 1024;
const noReply: Outcome = { reply: null, failure: { kind: "unavailable", why: "no reply" } };

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
  /** May be raised while nothing is under way. */
  generation: number;

  constructor(private readonly options: RedisStoreOptions) {
    this.generation = options.generation;
  }

  /** For metrics. `breaker`: 0 closed, 1 half-open, 2 open. */
  get counters(): Record<string, number> {
    const { exchange } = this.options;
    return { ...this.own, ...exchange.counters, breaker: states[exchange.breakerState] };
  }

  async write(writes: readonly PartitionWrite[]): Promise<readonly (StoreFailure | null)[]> {
    checkNames(writes);
    this.own.writes += writes.length;
    const parts = writes.map((write) => this.partOf(write));
    if (!this.options.adopts) this.number++;
    const turn = [String(this.generation), String(this.number)] as const;
    // Calls that overlap happen in order.
    const outcomes = this.lastWrite.then(() => this.send(parts, turn));
    this.lastWrite = outcomes;
    return outcomes;
  }

  async read(partition: string, from = "", limit = Number.POSITIVE_INFINITY): Promise<Row[]> {
    checkPartition(partition);
    this.own.reads++;
    const { bucket, keys } = this.options.keys.partition(partition);
    const rows: Row[] = [];
    let bound = `[${from}`;
    while (rows.length < limit) {
      const count = Math.min(pageRows, limit - rows.length);
      const args = [bound, String(count), String(pageBytes)];
      const [outcome] = await this.options.exchange.call(
        [{ bucket, script: readScript, keys: keys.slice(0, 2), args, bytes: 0 }],
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

  private partOf({ partition, operations, fence }: PartitionWrite): Part {
    const { keys: space } = this.options;
    const isEpoch = fence === undefined || (Number.isSafeInteger(fence) && fence >= 0);
    assert(isEpoch, "an epoch is no number");
    const { bucket, keys } = space.partition(partition);
    const epoch = fence === undefined ? "" : String(fence);
    const args: Argument[] = ["", partition, epoch];
    let bytes = 250;
    for (const operation of operations) bytes += append(args, operation);
    args[0] = String(args.length - 1);
    return { partition, bucket, keys, args, bytes };
  }

  /**
   * Several partitions go into one call where one server has them; each has its outcome. `turn`: generation and number of
   * the write.
   */
  private async send(parts: readonly Part[], turn: WriteTurn): Promise<(StoreFailure | null)[]> {
    const { exchange } = this.options;
    const groups = exchange.isOneServer ? groupsOf(parts) : parts.map((part) => [part]);
    const outcomes = await exchange.call(
      groups.map((group) => callOf(group, turn)),
      true,
    );
    const failures: (StoreFailure | null)[] = [];
    for (const [index, group] of groups.entries()) {
      const { reply, failure } = outcomes[index] ?? noReply;
      if (failure === null) {
        const replies = Array.isArray(reply) ? reply : [];
        for (const [at, part] of group.entries()) {
          failures.push(await this.judge(replies[at], part));
        }
      } else if (group.length === 1 || failure.kind === "unavailable") {
        for (const _ of group) failures.push(failure);
      } else {
        // One of them has no room, or is not ours: the others must not suffer.
        const each = await exchange.call(
          group.map((part) => callOf([part], turn)),
          true,
        );
        for (const [at, outcome] of each.entries()) {
          const [first] = Array.isArray(outcome.reply) ? outcome.reply : [];
          failures.push(outcome.failure ?? (await this.judge(first, group[at])));
        }
      }
    }
    return failures;
  }

  /** What the script says of one partition. */
  private async judge(reply: unknown, part: Part | undefined): Promise<StoreFailure | null> {
    const partition = part?.partition ?? "";
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
        this.own.fenced++;
        if (this.options.adopts) {
          return { kind: "fenced", why: `the node whose ${partition} it is lives again` };
        }
        return { kind: "broken", why: await this.options.whyReplaced() };
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
        const keys = [this.options.keys.index(bucket)];
        const args = [bound, end, String(merge.pageLength)];
        return { bucket, script: namesScript, keys, args, bytes: 0 };
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

/** In their order, as many together as one call may hold. */
function groupsOf(parts: readonly Part[]): Part[][] {
  const groups: Part[][] = [];
  let bytes = 0;
  for (const part of parts) {
    const group = groups.at(-1);
    bytes += part.bytes;
    if (group !== undefined && group.length < groupParts && bytes <= groupBytes) group.push(part);
    else {
      groups.push([part]);
      bytes = part.bytes;
    }
  }
  return groups;
}

function callOf(group: readonly Part[], turn: WriteTurn): Call {
  const keys: string[] = [];
  const args: Argument[] = [...turn];
  let bytes = 100;
  for (const part of group) {
    for (const key of part.keys) keys.push(key);
    for (const argument of part.args) args.push(argument);
    bytes += part.bytes;
  }
  return { bucket: group[0]?.bucket ?? 0, script: writeScript, keys, args, bytes };
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
