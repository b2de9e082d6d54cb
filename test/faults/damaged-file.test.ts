/** A node whose store's file was damaged while it was down: it starts with what can be read, and does so again. */
import assert from "node:assert/strict";
import { closeSync, existsSync, openSync, readFileSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { StoreControl } from "../../src/admin/parts.js";
import { seededRandom } from "../../src/lib/random.js";
import { startNodes, type TestNode } from "../support/nodes.js";

type Verified = Awaited<ReturnType<StoreControl["verify"]>>;

const page = 4096;

function spoil(path: string, damage: (fd: number, pages: number) => void): void {
  const fd = openSync(path, "r+");
  damage(fd, Math.floor(statSync(path).size / page));
  closeSync(fd);
}

/** The topics that are retained, with what is on them. */
async function kept(node: TestNode): Promise<Map<string, string>> {
  const { total } = await node.ctl<{ total: number }>("retained list", {
    filter: "kept/#",
    limit: 1,
  });
  const client = await node.connect();
  await client.subscribe("kept/#");
  await client.payloads(total);
  return new Map(client.received.map(({ topic, payload }) => [topic, payload]));
}

const damages: Record<string, (fd: number, pages: number) => void> = {
  "a header of zeros": (fd) => {
    writeSync(fd, Buffer.alloc(2 * page), 0, 2 * page, 0);
  },
  "random bytes": (fd, pages) => {
    const random = seededRandom(5);
    for (let i = 0; i < 30; i++) {
      const at = Math.floor(random.fraction() * (pages - 1)) * page;
      writeSync(fd, random.bytes(700), 0, 700, at + 100);
    }
  },
};

for (const [what, damage] of Object.entries(damages)) {
  test(`${what} in the store's file of a node that was killed`, async (t) => {
    const [node] = await startNodes(t, { nodes: 1 });
    assert.ok(node !== undefined);
    const client = await node.connect();
    const all = Array.from({ length: 400 }, (_, index) => index);
    await Promise.all(
      all.map((index) =>
        client.publish(`kept/${index}`, `value ${index}`, { qos: 1, retain: true }),
      ),
    );
    await node.kill();
    const path = join(node.dataDirectory, "store", "data.mdb");
    spoil(path, damage);
    await node.start();
    const movedTo = /"movedTo":"([^"]+)"/.exec(node.output)?.[1];
    assert.equal(movedTo, `${path}.damaged-1`);
    assert.ok(existsSync(movedTo) && readFileSync(movedTo).length > 0);
    for (const [topic, payload] of await kept(node)) {
      assert.equal(payload, `value ${topic.slice("kept/".length)}`);
    }
    assert.equal((await node.ctl<Verified>("store verify")).wrong, 0);
    const writer = await node.connect();
    await writer.publish("kept/new", "value new", { qos: 1, retain: true });
    await node.kill();
    await node.start();
    assert.equal((await kept(node)).get("kept/new"), "value new");
    assert.ok(!existsSync(`${path}.damaged-2`));
  });
}
