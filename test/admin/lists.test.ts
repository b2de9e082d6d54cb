/** Lists of any length: made in parts, in turns, and only as fast as they are taken. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { request } from "../../src/admin/ctl-client.js";
import { openCtl } from "../../src/admin/ctl-server.js";
import { inParts, partItems } from "../../src/admin/lists.js";
import { silentLog } from "../../src/lib/log.js";
import { eventually } from "../support/mqtt-client.js";
import { ManualClock } from "../session/support.js";
import { fakeParts } from "./fake-parts.js";

/** Time passes when it is told to; what is deferred comes at once. */
class TurnClock extends ManualClock {
  atMs = 0;
  longestMs = 0;
  private turnMs = 0;
  override monotonicMs(): number {
    return this.atMs;
  }
  override defer(callback: () => void): void {
    this.longestMs = Math.max(this.longestMs, this.atMs - this.turnMs);
    this.turnMs = this.atMs;
    queueMicrotask(callback);
  }
}

const session = (index: number) => ({
  ...{ clientId: `c${index}`, user: "", connected: true, expiryMs: 60_000, subscriptions: 1 },
  ...{ queued: 0, queuedBytes: 0, inflight: 0, openQos2: 0 },
});

test("a list comes in parts, with the number of all items in the last", async () => {
  for (const [count, limit, sizes] of [
    [0, 10, [0]],
    [partItems, 10_000, [partItems]],
    [2 * partItems + 1, 10_000, [partItems, partItems, 1]],
    [2 * partItems + 1, partItems, [partItems]],
    [2 * partItems + 1, 3, [3]],
  ] as const) {
    const items: number[] = [];
    const got: number[] = [];
    let last: number | null = null;
    // In between there is something that was looked at in vain.
    const listing = Array.from({ length: 2 * count }, (_, i) => (i % 2 === 0 ? i : undefined));
    for await (const part of inParts(listing, limit, new TurnClock())) {
      assert.equal(last, null, "the number comes last");
      items.push(...part.items);
      got.push(part.items.length);
      last = part.total;
    }
    assert.deepEqual([got, last], [sizes, count]);
    assert.deepEqual(items, listing.filter((item) => item !== undefined).slice(0, limit));
  }
});

test("whoever looks for long leaves off for a turn, also when nothing is found", async () => {
  const clock = new TurnClock();
  function* slow(): Iterable<undefined> {
    for (let i = 0; i < 64_000; i++) {
      clock.atMs += 0.02;
      yield undefined;
    }
  }
  for await (const { total } of inParts(slow(), 10, clock)) assert.equal(total, 0);
  assert.ok(clock.longestMs > 0 && clock.longestMs < 8, `a turn of ${clock.longestMs} ms`);
});

test("an operator gets a long list whole, and one who takes nothing holds it up", async (t) => {
  const runDir = mkdtempSync(join(tmpdir(), "trellis-ctl-"));
  t.after(() => rmSync(runDir, { recursive: true, force: true }));
  const count = 20_000;
  let made = 0;
  function* sessions() {
    for (made = 0; made < count; made++) yield session(made);
  }
  const parts = fakeParts();
  Object.assign(parts.sessions, { list: sessions });
  const { name } = parts.cluster;
  const server = await openCtl({ runDir, name, parts, log: silentLog });
  t.after(() => server.close());
  const ask = async (limit: number) => {
    const answer = await request(server.path, { command: "sessions list", args: { limit } });
    assert.ok("ok" in answer && answer.ok);
    const { total, items } = answer.result as { total: number; items: { clientId: string }[] };
    return { total, ids: items.map(({ clientId }) => clientId), lines: answer.text.split("\n") };
  };
  const all = await ask(1_000_000);
  assert.deepEqual([all.total, all.ids.length, all.lines.length], [count, count, count + 1]);
  assert.deepEqual(
    all.ids,
    Array.from({ length: count }, (_, index) => `c${index}`),
  );
  assert.match(all.lines[0] ?? "", /^client +connected/);
  const some = await ask(1200);
  assert.deepEqual([some.total, some.ids.length, some.lines.length], [count, 1200, 1202]);
  assert.match(some.lines.at(-1) ?? "", /and 18800 more/);

  made = 0;
  const socket = createConnection(server.path);
  socket.on("error", () => undefined);
  socket.pause();
  const asked = { command: "sessions list", args: { limit: 1_000_000 } };
  socket.write(`${JSON.stringify(asked)}\n`);
  await eventually(() => made > partItems, "the first parts");
  const other = await request(server.path, { command: "status" });
  assert.ok("ok" in other && other.ok);
  assert.ok(made < count, "not all of it was made");
  socket.destroy();
});
