/** Rows of one node and their copy at another: snapshots, deltas, gaps, digests, and who waits for them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { PeerRows } from "../../src/cluster/peer-rows.js";
import { type RowFollower, type RowLink, rowHash, RowTable } from "../../src/cluster/row-table.js";
import { FrameReader, FrameType, WireError } from "../../src/cluster/wire/frames.js";
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

  constructor() {
    this.link = this.newLink();
    this.copy = new PeerRows({
      set: (key, value) => {
        const before = this.rows.get(key) ?? 0;
        if (value === 0) this.rows.delete(key);
        else this.rows.set(key, value);
        return before;
      },
      replace: (rows) => {
        this.rows.clear();
        for (const [key, value] of rows) this.rows.set(key, value);
      },
    });
  }

  isWaitedFor(): boolean {
    return this.waitedFor;
  }

  newLink(): RowLink {
    this.wire = [];
    return {
      send: (kind, body) => void this.wire.push(encode(kind, body)),
      sendControl: (frame) => void this.wire.push(frame),
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
  const followers = Array.from({ length: count }, () => new Follower());
  const { clock } = world.node("a@ha").boot();
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
  for (let i = 0; i < 4500; i++) table.set(`filter/${i}`, 8);
  const { link } = follower;
  assert.ok(link !== null);
  table.sendSnapshot(link);
  // The delta of the turn, BEGIN, three parts, END.
  assert.equal(follower.underWay, 6);
  follower.receive();
  assert.equal(follower.rows.size, 4500);
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
  assert.deepEqual([...follower.rows.keys()], ["a", "b", "c", "d"]);
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
