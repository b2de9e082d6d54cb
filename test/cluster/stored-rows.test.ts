/** Peers' durable rows on disk, and the bound of stamps: what is acknowledged is committed. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { StampKeeper } from "../../src/cluster/stamp-keeper.js";
import { StoredRows } from "../../src/cluster/stored-rows.js";
import { HybridClock } from "../../src/lib/hlc.js";
import { Durable } from "../store/durable.js";

const peer = "b@hb 0123456789abcdef0123456789abcdef";

async function found({ store, commits }: Durable): Promise<Record<string, number>> {
  const rows: Record<string, number> = {};
  await new StoredRows(peer, commits).load(store, (key, value) => {
    rows[key] = value;
  });
  return rows;
}

test("rows are found again as they were last set", async () => {
  const durable = new Durable();
  const rows = new StoredRows(peer, durable.commits);
  const long = "x/".repeat(2000);
  rows.set("a/+", 13);
  rows.set(long, 14);
  rows.set("gone", 13);
  await durable.settled();
  rows.set("a/+", 14);
  rows.set("gone", 0);
  await durable.settled();
  assert.deepEqual(await found(durable), { "a/+": 14, [long]: 14 });
  rows.purge();
  rows.set("new", 13);
  await durable.settled();
  assert.deepEqual(await found(durable), { new: 13 });
});

test("whoever waits hears when what was set before is committed, at once when it is", async () => {
  const durable = new Durable();
  const rows = new StoredRows(peer, durable.commits);
  const heard: string[] = [];
  rows.whenStored(() => heard.push("nothing to wait for"));
  rows.set("a", 13);
  rows.whenStored(() => heard.push("a"));
  durable.store.closeGate();
  await durable.clock.turn();
  rows.whenStored(() => heard.push("a again"));
  rows.set("b", 13);
  rows.whenStored(() => heard.push("b"));
  assert.deepEqual(heard, ["nothing to wait for"]);
  durable.store.openGate();
  await durable.settled();
  assert.deepEqual(heard, ["nothing to wait for", "a", "a again", "b"]);
});

test("a clock that was set back gives no stamp that was given before", async () => {
  const durable = new Durable();
  const { clock } = durable;
  const start = async (): Promise<HybridClock> => {
    const stamps = new HybridClock(clock);
    await new StampKeeper(stamps, durable.commits).load(durable.store);
    return stamps;
  };
  let highest = 0;
  for (let lives = 0; lives < 5; lives++) {
    const stamps = await start();
    for (let i = 0; i < 3; i++) {
      const stamp = stamps.next();
      assert.ok(stamp > highest, `life ${lives}`);
      highest = stamp;
      await durable.settled();
      await clock.advance(700);
    }
    durable.crash();
    clock.nowMs -= 3_600_000;
  }
});

test("a node that starts again and again does not run away from real time", async () => {
  const durable = new Durable();
  const { clock } = durable;
  for (let lives = 0; lives < 100; lives++) {
    const stamps = new HybridClock(clock);
    await new StampKeeper(stamps, durable.commits).load(durable.store);
    stamps.next();
    await durable.settled();
    await clock.advance(1000);
    durable.crash();
    const aheadMs = stamps.next() / 1024 - clock.wallMs();
    assert.ok(aheadMs < 12_000, `${aheadMs} ms after ${lives} lives`);
  }
});
