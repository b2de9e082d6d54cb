/** Rows of one node and their copy at another: snapshots, deltas, gaps, digests, and who waits for them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { PeerRows } from "../../src/cluster/peer-rows.js";
import { type RowFollower, type RowLink, rowHash, RowTable } from "../../src/cluster/row-table.js";
import { FrameReader, FrameType, WireError } from "../../src/cluster/wire/frames.js";
import type { Clock } from "../../src/lib/clock.js";
import { decode, encode } from "../../src/cluster/wire/messages.js";
import { World } from "../sim/world/world.js";

const syncTimeoutMs = 1000;

/** A peer at the other end of a link that keeps frames until they are let through. */
class Follower implements RowFollower {
  ackedSeq = -1;
  waitedFor = true;
  link: RowLink | null;
  readonly rows = new Map<string, number>();
  readonly copy: PeerRows;
  resyncs = 0;
  private wire: Buffer[] = [];

  /** How often a snapshot has replaced the rows. */
  held = 0;

  constructor(clock: Clock) {
    this.link = this.newLink();
    this.copy = new PeerRows(
      {
        set: (key, value) => {
          const before = this.rows.get(key) ?? 0;
          if (value === 0) this.rows.delete(key);
          else this.rows.set(key, value);
          return before;
        },
        keys: () => this.rows.keys(),
      },
      clock,
      () => {
        this.held++;
      },
    );
  }

  isWaitedFor(): boolean {
    return this.waitedFor;
  }

  newLink(): RowLink {
    this.wire = [];
    return {
      send: (kind, body) => void this.wire.push(encode(kind, body)),
      sendControl: (frame) => void this.wire.push(frame),
      controlBufferedBytes: 0,
    };
  }

  /** Frames that are on their way. */
  get underWay(): number {
    return this.wire.length;
  }

  /** Loses the frame at that place. */
  lose(index: number): void {
    this.wire.splice(index, 1);
  }

  /** Lets everything through. */
  receive(): void {
    const reader = new FrameReader((type, bytes, start, end) => this.take(type, bytes, start, end));
    reader.frameMax = 1_000_000;
    for (const frame of this.wire.splice(0)) reader.push(frame);
  }

  private take(type: number, bytes: Buffer, start: number, end: number): void {
    if (type === FrameType.rowsBegin) this.copy.begin();
    else if (type === FrameType.rowsPart) this.copy.part(decode("rowsPart", bytes, start, end));
    else if (type === FrameType.rowsEnd) this.copy.end(decode("rowsEnd", bytes, start, end));
    else if (!this.copy.delta(decode("rowsDelta", bytes, start, end))) {
      this.copy.reset();
      this.resyncs++;
    }
  }
}

function scene(count = 1) {
  const world = new World(1);
  const { clock } = world.node("a@ha").boot();
  const followers = Array.from({ length: count }, () => new Follower(clock));
  const table = new RowTable(clock, () => followers, syncTimeoutMs);
  return { world, table, followers, clock };
}

/** The first follower, with a snapshot that it holds. */
function synced() {
  const all = scene();
  const [follower] = all.followers;
  assert.ok(follower !== undefined && follower.link !== null);
  all.table.sendSnapshot(follower.link);
  follower.receive();
  follower.ackedSeq = follower.copy.seq;
  return { ...all, follower };
}

test("a snapshot, then one delta a turn, whatever changed in it", async () => {
  const { world, table, follower } = synced();
  table.set("a", 8);
  table.set("b", 9);
  table.set("a", 0);
  table.set("b", 13);
  await world.run(0);
  assert.equal(follower.underWay, 1);
  follower.receive();
  assert.deepEqual([...follower.rows], [["b", 13]]);
  assert.deepEqual(table.digest(), { seq: 1, count: 1, hash: rowHash("b", 13) });
  assert.ok(!follower.copy.differs(table.digest()));
});

test("what did not change is not sent", async () => {
  const { world, table, follower } = synced();
  table.set("a", 8);
  await world.run(0);
  table.set("a", 8);
  table.set("gone", 0);
  await world.run(0);
  assert.equal(follower.underWay, 1);
});

test("a big table goes in parts", () => {
  const { table, follower } = synced();
  for (let i = 0; i < 1200; i++) table.set(`filter/${i}`, 8);
  const { link } = follower;
  assert.ok(link !== null);
  table.sendSnapshot(link);
  // The delta of the turn, BEGIN, three parts, END.
  assert.equal(follower.underWay, 6);
  follower.receive();
  assert.equal(follower.rows.size, 1200);
  assert.ok(!follower.copy.differs(table.digest()));
});

test("a snapshot replaces the rows only at its end, and a second one at once takes its place", () => {
  const { table, follower } = synced();
  follower.rows.set("old", 8);
  table.set("new", 8);
  follower.copy.begin();
  follower.copy.part(["half", 8]);
  assert.deepEqual([...follower.rows.keys()], ["old"]);
  follower.copy.begin();
  follower.copy.part(["new", 8]);
  follower.copy.end({ seq: 4, count: 1, hash: rowHash("new", 8) });
  assert.deepEqual([...follower.rows.keys()], ["new"]);
});

test("a snapshot of many rows takes turns at both ends, and what changes meanwhile is in it", async () => {
  const { world, table, follower } = synced();
  for (let i = 0; i < 30_000; i++) table.set(`filter/${i}`, 8);
  for (let i = 0; i < 10_000; i++) follower.rows.set(`old/${i}`, 8);
  const { link } = follower;
  assert.ok(link !== null);
  follower.copy.reset();
  table.sendSnapshot(link);
  assert.ok(follower.underWay < 10, "not all of it in one turn");
  for (let turn = 0; turn < 40; turn++) {
    // Some that were sent, some that are still to be sent, some new ones.
    table.set(`filter/${turn}`, 0);
    table.set(`filter/${20_000 + turn}`, turn % 2 === 0 ? 0 : 9);
    table.set(`new/${turn}`, 10);
    if (turn > 0) table.set(`new/${turn - 1}`, 0);
    follower.receive();
    await world.run(1);
  }
  await heldAll(world, follower, 2);
  await world.run(1);
  follower.receive();
  assert.deepEqual(new Map([...follower.rows].sort()), new Map([...table.entries()].sort()));
  assert.equal(follower.copy.seq, table.digest().seq);
  assert.ok(!follower.copy.differs(table.digest()));
  assert.equal(follower.copy.count, follower.rows.size);
  assert.equal(follower.resyncs, 0);
});

test("a snapshot that is asked for again starts anew, one whose link is over ends", async () => {
  const { world, table, follower } = synced();
  for (let i = 0; i < 20_000; i++) table.set(`filter/${i}`, 8);
  const { link } = follower;
  assert.ok(link !== null);
  table.sendSnapshot(link);
  table.sendSnapshot(link);
  await world.run(10);
  follower.receive();
  await heldAll(world, follower, 2);
  assert.ok(!follower.copy.differs(table.digest()));
  table.sendSnapshot(link);
  follower.link = follower.newLink();
  await world.run(10);
  assert.equal(follower.underWay, 0);
});

test("a link that does not take its snapshot is not given more of it", async () => {
  const { world, table, follower } = synced();
  for (let i = 0; i < 40_000; i++) table.set(`filter/${i}`, 8);
  const { link } = follower;
  assert.ok(link !== null);
  const slow = { ...link, controlBufferedBytes: 2 ** 30 };
  follower.link = slow;
  table.sendSnapshot(slow);
  await world.run(50);
  assert.ok(follower.underWay < 10);
  slow.controlBufferedBytes = 0;
  await world.run(50);
  follower.receive();
  await heldAll(world, follower, 2);
  assert.equal(follower.rows.size, 40_000);
});

test("a snapshot that is being put in place gives way to a broken link, and to a gap in the deltas", async () => {
  const { world, follower } = synced();
  const { copy } = follower;
  const keys = Array.from({ length: 10_000 }, (_, i) => `filter/${i}`);
  const rows = keys.flatMap((key) => [key, 8]);
  const hash = keys.reduce((sum, key) => (sum + rowHash(key, 8)) >>> 0, 0);
  const held = follower.held;
  for (const breaks of [true, false]) {
    copy.begin();
    copy.part(rows);
    copy.end({ seq: 7, count: keys.length, hash });
    assert.equal(copy.seq, -1, "some turns are needed");
    assert.throws(() => copy.part(["late", 8]), WireError);
    assert.ok(copy.delta({ seq: 7, rows: ["before", 8] }), "it is part of the snapshot");
    if (!breaks) assert.ok(!copy.delta({ seq: 9, rows: [] }));
    copy.reset();
    await world.run(10);
    assert.equal(follower.held, held);
  }
});

test("a row that is refused in a later turn is told as a fault", async () => {
  const world = new World(1);
  const { clock } = world.node("a@ha").boot();
  const faults: (WireError | null)[] = [];
  const set = (key: string): number => {
    if (key === "filter/9000") throw new WireError("no such row");
    return 0;
  };
  const copy = new PeerRows({ set, keys: () => [] }, clock, (fault) => void faults.push(fault));
  const keys = Array.from({ length: 10_000 }, (_, i) => `filter/${i}`);
  copy.begin();
  copy.part(keys.flatMap((key) => [key, 8]));
  const hash = keys.reduce((sum, key) => (sum + rowHash(key, 8)) >>> 0, 0);
  copy.end({ seq: 1, count: keys.length, hash });
  await world.run(10);
  assert.deepEqual(
    faults.map((fault) => fault?.message),
    ["no such row"],
  );
  assert.equal(copy.seq, -1);
});

/** Turns until the follower holds its n-th snapshot. */
async function heldAll(world: World, follower: Follower, times: number): Promise<void> {
  for (let turn = 0; turn < 1000 && follower.held < times; turn++) {
    await world.run(1);
    follower.receive();
  }
  assert.ok(follower.held >= times);
}

test("a gap in the deltas asks for a snapshot; what comes before it is ignored", async () => {
  const { world, table, follower } = synced();
  for (const key of ["a", "b", "c"]) {
    table.set(key, 8);
    await world.run(0);
  }
  follower.lose(1);
  follower.receive();
  assert.equal(follower.resyncs, 1);
  assert.deepEqual([...follower.rows.keys()], ["a"]);
  table.set("d", 8);
  await world.run(0);
  follower.receive();
  assert.deepEqual([...follower.rows.keys()], ["a"]);
  const { link } = follower;
  assert.ok(link !== null);
  table.sendSnapshot(link);
  follower.receive();
  assert.deepEqual([...follower.rows.keys()].sort(), ["a", "b", "c", "d"]);
  assert.equal(follower.resyncs, 1);
});

test("a copy that went wrong differs in its digest, at the same sequence only", async () => {
  const { world, table, follower } = synced();
  table.set("a", 8);
  await world.run(0);
  const right = table.digest();
  assert.ok(!follower.copy.differs(right), "not heard of yet");
  follower.receive();
  assert.ok(!follower.copy.differs(right));
  assert.ok(follower.copy.differs({ ...right, hash: right.hash ^ 1 }));
  assert.ok(follower.copy.differs({ ...right, count: 2 }));
  assert.ok(!follower.copy.differs({ ...right, seq: right.seq + 1, count: 2 }));
});

test("snapshots that are cut off, changed or out of place are refused", () => {
  const { follower } = synced();
  const { copy } = follower;
  assert.throws(() => copy.part(["a", 8]), WireError);
  assert.throws(() => copy.end({ seq: 1, count: 0, hash: 0 }), WireError);
  copy.begin();
  assert.throws(() => copy.part(["a", "b"]), WireError);
  assert.throws(() => copy.part([8, 8]), WireError);
  assert.throws(() => copy.part(["a"]), WireError);
  copy.begin();
  copy.part(["a", 8]);
  assert.throws(() => copy.end({ seq: 1, count: 2, hash: 0 }), WireError);
  assert.throws(() => copy.end({ seq: 1, count: 1, hash: 0 }), WireError);
  assert.deepEqual([...follower.rows], []);
});

test("whatever changes, loses frames or breaks, the copy ends equal or knows that it is not", () => {
  const key = fc.constantFrom("a", "b", "c", "d/+", "e/#");
  const value = fc.constantFrom(0, 8, 9, 10, 12, 13, 14);
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.tuple(fc.constant("set" as const), key, value) },
    { weight: 2, arbitrary: fc.tuple(fc.constant("turn" as const)) },
    { weight: 2, arbitrary: fc.tuple(fc.constant("receive" as const)) },
    { weight: 1, arbitrary: fc.tuple(fc.constant("lose" as const), fc.nat(5)) },
    { weight: 1, arbitrary: fc.tuple(fc.constant("break" as const)) },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const { table, follower } = synced();
      for (const one of steps) {
        if (one[0] === "set") table.set(one[1], one[2]);
        else if (one[0] === "turn") table.digest();
        else if (one[0] === "receive") receive(follower);
        else if (one[0] === "lose") follower.lose(one[1]);
        else {
          follower.copy.reset();
          follower.link = follower.newLink();
          table.sendSnapshot(follower.link);
        }
      }
      table.set("last", 8);
      const digest = table.digest();
      receiveAll(table, follower);
      assert.ok(!follower.copy.differs(digest));
      assert.equal(follower.copy.seq, digest.seq);
      assert.deepEqual(new Map(follower.rows), new Map(table.entries()));
    }),
    { numRuns: 300 },
  );
});

/** What breaks the protocol ends the link. */
function receive(follower: Follower): void {
  try {
    follower.receive();
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    follower.copy.reset();
  }
}

/** As the peer does it: what cannot be taken, or does not arrive, is asked for anew. */
function receiveAll(table: RowTable, follower: Follower): void {
  receive(follower);
  if (follower.copy.seq === table.digest().seq) return;
  follower.copy.reset();
  follower.link = follower.newLink();
  table.sendSnapshot(follower.link);
  follower.receive();
}

test("whenSynced: at once when nobody is waited for, or all hold everything", async () => {
  const { table, follower } = synced();
  let done = 0;
  table.whenSynced(() => void done++);
  assert.equal(done, 1);
  follower.waitedFor = false;
  table.set("a", 8);
  table.whenSynced(() => void done++);
  assert.equal(done, 2);
});

test("whenSynced waits for the slowest, in order, and not for a peer that goes down", async () => {
  const { world, table, followers } = scene(2);
  const [fast, slow] = followers;
  assert.ok(fast !== undefined && slow !== undefined);
  for (const follower of followers) follower.ackedSeq = 0;
  const done: string[] = [];
  table.set("a", 8);
  table.whenSynced(() => void done.push("a"));
  await world.run(0);
  table.set("b", 8);
  table.whenSynced(() => void done.push("b"));
  await world.run(0);
  fast.ackedSeq = 2;
  table.release();
  assert.deepEqual(done, []);
  slow.ackedSeq = 1;
  table.release();
  assert.deepEqual(done, ["a"]);
  slow.waitedFor = false;
  table.release();
  assert.deepEqual(done, ["a", "b"]);
  await world.run(5000);
  assert.equal(table.counters.syncTimeouts, 0);
});

test("a snapshot's acknowledgement counts as well", async () => {
  const { world, table, follower } = synced();
  let done = false;
  table.set("a", 8);
  table.whenSynced(() => {
    done = true;
  });
  await world.run(0);
  follower.copy.reset();
  follower.link = follower.newLink();
  table.sendSnapshot(follower.link);
  follower.receive();
  follower.ackedSeq = follower.copy.seq;
  table.release();
  assert.ok(done);
});

test("whoever waits too long is let go and counted, each after its own time", async () => {
  const { world, table } = synced();
  const done: number[] = [];
  for (let i = 0; i < 3; i++) {
    table.set(`a${i}`, 8);
    table.whenSynced(() => void done.push(world.nowMs));
    await world.run(300);
  }
  await world.run(5000);
  assert.deepEqual(done, [1000, 1300, 1600]);
  assert.equal(table.counters.syncTimeouts, 3);
});

test("one that is let go may wait for the next thing in the same breath", async () => {
  const { world, table, follower } = synced();
  const done: number[] = [];
  const again = (left: number): void => {
    table.set(`a${done.length}`, 8);
    table.whenSynced(() => {
      done.push(world.nowMs);
      if (left > 0) again(left - 1);
    });
  };
  again(2);
  await world.run(10_000);
  assert.deepEqual(done, [1000, 2000, 3000]);
  again(1);
  await world.run(10);
  follower.ackedSeq = table.digest().seq;
  table.release();
  assert.equal(done.length, 4);
  await world.run(10);
  follower.ackedSeq = table.digest().seq;
  table.release();
  assert.equal(done.length, 5);
  assert.equal(table.counters.syncTimeouts, 3);
});
