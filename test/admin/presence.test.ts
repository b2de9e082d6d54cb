/** Who is subscribed, asked of real nodes: once a client, page by page, and who could not be asked. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { PresencePage } from "../../src/admin/parts.js";
import { startNodes, until } from "../support/nodes.js";

test("presence finds subscribers at every node, each client once, with the filters that match", async (t) => {
  const [a, b] = await startNodes(t, { nodes: 2 });
  assert.ok(a !== undefined && b !== undefined);
  const c1 = await a.connect({ clientId: "c1" });
  await c1.subscribe("x/+", 1);
  await c1.subscribe("x/#", 2);
  const c2 = await b.connect({ clientId: "c2", clean: false });
  await c2.subscribe("x/1", 0);
  await c2.mqtt.endAsync();
  const c3 = await b.connect({ clientId: "c3" });
  await c3.subscribe("$share/g/x/1", 1);
  const c4 = await b.connect({ clientId: "c4" });
  await c4.subscribe("y", 1);

  const ask = (args: object): Promise<PresencePage> => a.ctl<PresencePage>("presence", { ...args });
  const all = await ask({ filter: "x/1" });
  const plain = all.items.map(({ filters, ...one }) => ({ ...one, filters: [...filters].sort() }));
  const anybody = { user: "" };
  assert.deepEqual(plain, [
    { ...anybody, clientId: "c1", node: a.name, qos: 2, connected: true, filters: ["x/#", "x/+"] },
    { ...anybody, clientId: "c2", node: b.name, qos: 0, connected: false, filters: ["x/1"] },
    {
      ...anybody,
      clientId: "c3",
      node: b.name,
      qos: 1,
      connected: true,
      filters: ["$share/g/x/1"],
    },
  ]);
  assert.deepEqual([all.total, all.silent], [3, []]);

  const idsOf = async (args: object): Promise<string[]> =>
    (await ask(args)).items.map(({ clientId }) => clientId);
  assert.deepEqual(await idsOf({ filter: "x/1", limit: 2 }), ["c1", "c2"]);
  assert.deepEqual(await idsOf({ filter: "x/1", limit: 2, after: "c2" }), ["c3"]);
  assert.deepEqual(await idsOf({ filter: "x/#" }), ["c1"]);
  assert.deepEqual(await idsOf({ filter: "$share/g/x/1" }), ["c3"]);
  assert.deepEqual(await idsOf({ filter: "nothing" }), []);
  await assert.rejects(ask({ filter: "a#" }), /is no topic and no filter: # fills a whole level/);

  await b.kill();
  const alone = await until("an answer without the other node", async () => {
    const page = await ask({ filter: "x/1" });
    return page.silent.length > 0 ? page : undefined;
  });
  assert.deepEqual([alone.items.length, alone.silent], [1, [b.name]]);
});
