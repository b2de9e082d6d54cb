/** Retained messages in the store: what is accepted is found by a later process, as it was last. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Message } from "../../src/routing/message.js";
import { type RetainedLimits, RetainedStore } from "../../src/routing/retained.js";
import { Topic } from "../../src/routing/topic.js";
import { Durable } from "../store/durable.js";

const limits: RetainedLimits = { messages: 1000, bytes: 1e9, forgetAfterMs: 60_000, ttlMs: 0 };

interface Setting {
  readonly qos?: 0 | 1 | 2;
  /** Milliseconds from now. */
  readonly lifeMs?: number;
  readonly properties?: Buffer;
}

class Process {
  readonly retained: RetainedStore;
  private static ticks = 0;

  private constructor(
    readonly durable: Durable,
    changes: Partial<RetainedLimits>,
  ) {
    const { clock, commits } = durable;
    this.retained = new RetainedStore({ ...limits, ...changes }, clock, commits);
  }

  static async start(durable: Durable, changes: Partial<RetainedLimits> = {}): Promise<Process> {
    const process = new Process(durable, changes);
    await process.retained.load(durable.store);
    return process;
  }

  /** Sets, or without payload deletes. The stamp is of this moment. */
  set(name: string, payload: string, setting: Setting = {}): Message {
    const { qos = 1, lifeMs = 0, properties = Buffer.alloc(0) } = setting;
    const topic = new Topic(name, Buffer.from(name), 0, undefined);
    const bytes = Buffer.concat([properties, Buffer.from(payload)]);
    const message = new Message(
      ...([topic, qos, true, "publisher", bytes, 0] as const),
      ...([properties.length, properties.length, bytes.length] as const),
    );
    const { clock } = this.durable;
    message.user = "user";
    message.stamp = clock.wallMs() * 1024 + ++Process.ticks;
    if (lifeMs !== 0) message.expiresMs = clock.monotonicMs() + lifeMs;
    this.retained.set(message, qos > 0);
    return message;
  }

  /** Topics and payloads, tombstones as "deleted", in order. */
  get content(): string[] {
    const all = [...this.retained.all()].map(({ topic, message }) => {
      if (message === null) return `${topic} deleted`;
      const { bytes, payloadStart, payloadEnd } = message;
      return `${topic} ${bytes.toString("utf8", payloadStart, payloadEnd)}`;
    });
    return all.sort();
  }
}

test("messages and deletions are found again, whole", async () => {
  const durable = new Durable();
  const first = await Process.start(durable);
  const long = `${"level/".repeat(300)}end`;
  const big = "ü".repeat(5000);
  const properties = Buffer.from([3, 0, 1, 120]);
  first.set("a", "1");
  first.set("b", "x");
  first.set(long, big, { properties, qos: 2 });
  first.set("gone", "y");
  await durable.settled();
  first.set("b", "2");
  first.set("gone", "");
  await durable.settled();
  durable.crash();
  const second = await Process.start(durable);
  assert.deepEqual(second.content, ["a 1", "b 2", "gone deleted", `${long} ${big}`].sort());
  assert.deepEqual(second.retained.digests(), first.retained.digests());
  assert.equal(second.retained.size, 3);
  assert.equal(second.retained.bytes, first.retained.bytes);
  const message = second.retained.get(long)?.message;
  assert.ok(message);
  assert.deepEqual([message.qos, message.user, message.publisher], [2, "user", "publisher"]);
  assert.deepEqual(
    message.bytes.subarray(message.propertiesStart, message.propertiesEnd),
    properties,
  );
});

test("a publish is accepted when its message is durable; QoS 0 waits for nothing", async () => {
  const durable = new Durable();
  const { store, clock } = durable;
  const first = await Process.start(durable);
  store.closeGate();
  const waiting = [first.set("a", "1"), first.set("a", ""), first.set("b", "2", { qos: 2 })];
  assert.equal(first.set("c", "3", { qos: 0 }).pending, 0);
  await clock.turn();
  assert.deepEqual(
    waiting.map(({ pending }) => pending),
    [1, 1, 1],
  );
  store.openGate();
  await durable.settled();
  assert.deepEqual(
    waiting.map(({ pending }) => pending),
    [0, 0, 0],
  );
  durable.crash();
  assert.deepEqual((await Process.start(durable)).content, ["a deleted", "b 2", "c 3"]);
});

test("an older message changes nothing, and nobody waits for it", async () => {
  const durable = new Durable();
  const first = await Process.start(durable);
  const message = first.set("a", "1");
  await durable.settled();
  const calls = durable.store.calls.length;
  message.stamp -= 10;
  assert.equal(first.retained.set(message, true), "older");
  assert.equal(message.pending, 0);
  await durable.settled();
  assert.equal(durable.store.calls.length, calls);
});

test("however often a topic changes in a turn, it is one record of one write", async () => {
  const durable = new Durable();
  const first = await Process.start(durable);
  for (let i = 0; i < 100; i++) first.set("a", `${i}`);
  await durable.settled();
  const operations = durable.store.calls.flat().flatMap((write) => write.operations);
  assert.equal(operations.length, 1);
  durable.crash();
  assert.deepEqual((await Process.start(durable)).content, ["a 99"]);
});

test("killed at any commit: what was accepted is there, what is newer may be", async () => {
  for (let kill = 0; kill < 8; kill++) {
    const durable = new Durable();
    const first = await Process.start(durable);
    let accepted = -1;
    for (let i = 0; i < 8; i++) {
      if (i === kill) durable.store.closeGate();
      const message = first.set("a", i % 3 === 2 ? "" : `${i}`);
      await durable.clock.turn();
      if (message.pending === 0) accepted = i;
    }
    assert.equal(accepted, kill - 1);
    durable.crash();
    await durable.clock.turn();
    const [found] = (await Process.start(durable)).content;
    const valueAt = (i: number): string | undefined =>
      i < 0 ? undefined : `a ${i % 3 === 2 ? "deleted" : i}`;
    assert.ok([valueAt(accepted), valueAt(accepted + 1)].includes(found), `${kill}: ${found}`);
  }
});

test("expiry goes on while the node is away, and leaves a tombstone", async () => {
  const durable = new Durable();
  const { clock } = durable;
  const first = await Process.start(durable);
  first.set("short", "1", { lifeMs: 10_000 });
  first.set("long", "2", { lifeMs: 60_000 });
  await durable.settled();
  durable.crash();
  await clock.advance(20_000);
  const second = await Process.start(durable);
  assert.deepEqual([...second.retained.matching("#")].length, 1);
  assert.equal(second.retained.get("long")?.message?.secondsLeft(clock.monotonicMs()), 40);
  second.retained.sweepExpired();
  assert.deepEqual(second.content, ["long 2", "short deleted"]);
  await durable.settled();
  durable.crash();
  assert.deepEqual((await Process.start(durable)).content, ["long 2", "short deleted"]);
});

test("a shorter limits.retained_ttl holds for what was stored before", async () => {
  const durable = new Durable();
  const { clock } = durable;
  (await Process.start(durable)).set("a", "1");
  await durable.settled();
  durable.crash();
  await clock.advance(5000);
  const second = await Process.start(durable, { ttlMs: 20_000 });
  assert.equal(second.retained.get("a")?.message?.secondsLeft(clock.monotonicMs()), 15);
});

test("tombstones are forgotten in the store too, and clear leaves nothing", async () => {
  const durable = new Durable();
  const first = await Process.start(durable);
  first.set("a", "1");
  first.set("b", "");
  await durable.settled();
  first.retained.sweep(durable.clock.wallMs() + 120_000);
  await durable.settled();
  assert.deepEqual((await Process.start(durable)).content, ["a 1"]);
  first.retained.clear();
  first.set("new", "2");
  await durable.settled();
  durable.crash();
  assert.deepEqual((await Process.start(durable)).content, ["new 2"]);
});

test("a damaged record is left out", async () => {
  const durable = new Durable();
  const first = await Process.start(durable);
  for (const name of ["a", "b"]) first.set(name, "1");
  await durable.settled();
  const [partition = ""] = await durable.store.partitions("retained/");
  const [row] = await durable.store.read(partition);
  assert.ok(row !== undefined);
  const [key, value] = row;
  for (const cut of [0, 3, 20, value.length - 1]) {
    const operations = [{ kind: "put", key, value: value.subarray(0, cut) }] as const;
    await durable.store.write([{ partition, operations }]);
    assert.equal((await Process.start(durable)).content.length, 1);
  }
});
