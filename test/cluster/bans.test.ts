/** Bans in a cluster of real processes: known everywhere, over kill -9 too, and to a node that was away. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { startNodes, type TestNode, until } from "../support/nodes.js";

interface Bans {
  readonly items: readonly { readonly kind: string; readonly what: string }[];
}

async function isRefused(node: TestNode, clientId: string): Promise<boolean> {
  const refused = /banned|not authorized|closed before CONNACK/i;
  try {
    const client = await node.connect({ clientId, protocolVersion: 5, clean: true });
    client.mqtt.end(true);
    return false;
  } catch (error) {
    assert.match(String(error), refused);
    return true;
  }
}

const banned = async (node: TestNode): Promise<string> => {
  const { items } = await node.ctl<Bans>("ban list");
  return items.map(({ kind, what }) => `${kind} ${what}`).join();
};

async function untilBanned(node: TestNode, wanted: string): Promise<void> {
  let seen = "";
  await until(
    `the bans at ${node.name}`,
    async () => {
      seen = await banned(node);
      return seen === wanted || undefined;
    },
    () => seen,
  );
}

test("a ban at one node holds at all, over kill -9, and where it was missed", async (t) => {
  const nodes = await startNodes(t, { nodes: 3 });
  const [a, b, c] = nodes;
  assert.ok(a !== undefined && b !== undefined && c !== undefined);
  const elsewhere = await b.connect({ clientId: "bad", protocolVersion: 5 });
  await a.ctl("ban add", { kind: "client", what: "bad", reason: "noise" });
  await elsewhere.closed();
  assert.equal(elsewhere.disconnectReason, 0x98);
  for (const node of nodes) await untilBanned(node, "client bad");
  for (const node of nodes) assert.ok(await isRefused(node, "bad"));
  assert.equal(await isRefused(b, "good"), false);

  await c.kill();
  await a.ctl("ban add", { kind: "client", what: "worse", for: "1h" });
  await b.ctl("ban delete", { kind: "client", what: "bad" });
  await untilBanned(a, "client worse");
  // Said to be done is durable, and so is what came from elsewhere.
  await a.kill();
  await a.start();
  await untilBanned(a, "client worse");
  assert.ok(await isRefused(a, "worse"));

  await c.start();
  await c.sees(nodes);
  await untilBanned(c, "client worse");
  assert.equal(await isRefused(c, "bad"), false);
  await assert.rejects(a.ctl("ban delete", { kind: "client", what: "bad" }), /not banned/);
  await assert.rejects(a.ctl("ban add", { kind: "address", what: "x" }), /neither an address/);
});
