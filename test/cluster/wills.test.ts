/** Wills over three real processes, one of which dies: published at once by the others, and once alone. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { startNodes, type TestClient, type TestNode, until } from "../support/nodes.js";

interface Given {
  readonly delaySeconds?: number;
  readonly expirySeconds?: number;
}

function connectWithWill(node: TestNode, id: string, given: Given = {}): Promise<TestClient> {
  const { delaySeconds = 0, expirySeconds = 0 } = given;
  return node.connect({
    ...{ clientId: id, protocolVersion: 5, clean: false },
    properties: { sessionExpiryInterval: expirySeconds },
    will: {
      ...{ topic: `will/${id}`, payload: Buffer.from("gone"), qos: 1, retain: false },
      properties: { willDelayInterval: delaySeconds },
    },
  });
}

const topics = (client: TestClient): string[] => client.received.map(({ topic }) => topic).sort();

test("kill -9 of a node: the wills of its clients are published by the others, and not again when it is back", async (t) => {
  const nodes = await startNodes(t, { nodes: 3 });
  const [a, b, c] = nodes;
  assert.ok(a !== undefined && b !== undefined && c !== undefined);
  const watchers = [await b.connect(), await c.connect()];
  for (const watcher of watchers) await watcher.subscribe("will/#");
  const ids = ["one", "two", "three", "four", "five", "six"];
  for (const id of ids) await connectWithWill(a, id);
  const left = await connectWithWill(a, "left");
  await left.mqtt.endAsync();
  await connectWithWill(a, "waits", { delaySeconds: 3600, expirySeconds: 7200 });
  await connectWithWill(a, "soon", { delaySeconds: 1, expirySeconds: 3600 });
  await connectWithWill(a, "comes-back", { delaySeconds: 3, expirySeconds: 3600 });
  await connectWithWill(c, "elsewhere");
  await a.kill();
  // Its delay runs; it is back before that is over.
  await until("a connection at another node", () =>
    connectWithWill(b, "comes-back", { expirySeconds: 3600 }).catch(() => undefined),
  );
  const wanted = [...ids, "soon"].map((id) => `will/${id}`).sort();
  for (const watcher of watchers) {
    await watcher.waitFor("the wills", () => topics(watcher).length >= wanted.length);
    assert.deepEqual(topics(watcher), wanted);
  }
  await a.start();
  for (const node of nodes) await node.sees(nodes);
  const end = await a.connect();
  await end.publish("will/end", "end");
  for (const watcher of watchers) {
    await watcher.waitFor("the end", () => topics(watcher).includes("will/end"));
    assert.deepEqual(topics(watcher), [...wanted, "will/end"].sort());
  }
});

test("a client that is displaced at another node leaves its will before its successor publishes", async (t) => {
  const nodes = await startNodes(t, { nodes: 3 });
  const [a, b, c] = nodes;
  assert.ok(a !== undefined && b !== undefined && c !== undefined);
  const watcher = await c.connect();
  await watcher.subscribe("will/#");
  for (let round = 0; round < 5; round++) {
    const id = `displaced-${round}`;
    await connectWithWill(a, id);
    const successor = await b.connect({ clientId: id, protocolVersion: 5 });
    await successor.publish(`will/${id}`, "successor");
  }
  await watcher.waitFor("all", () => watcher.received.length >= 10);
  const payloads = watcher.received.map(({ payload }) => payload);
  assert.deepEqual(payloads, Array.from({ length: 5 }, () => ["gone", "successor"]).flat());
});

for (const how of ["drain start", "leave_cluster", "stop"] as const) {
  test(`${how}: wills wait for clients that come back elsewhere, and are published once for the others`, async (t) => {
    // On a slow machine the clients come back too late for a short grace.
    if (!(await comesBackInTime(t, how, 4))) assert.ok(await comesBackInTime(t, how, 30));
  });
}

/** False: the grace was over before the clients were back, so that nothing was shown. */
async function comesBackInTime(
  t: TestContext,
  how: "drain start" | "leave_cluster" | "stop",
  graceSeconds: number,
): Promise<boolean> {
  const settings = [`drain.will_grace=${graceSeconds}s`];
  const nodes = await startNodes(t, { nodes: 3, settings });
  const [a, b, c] = nodes;
  assert.ok(a !== undefined && b !== undefined && c !== undefined);
  const watcher = await c.connect();
  await watcher.subscribe("will/#");
  const clients: TestClient[] = [];
  const gone: string[] = [];
  for (let i = 0; i < 6; i++) {
    const given = { expirySeconds: i < 4 ? 0 : 3600 };
    for (const id of [`gone${i}`, `back${i}`]) clients.push(await connectWithWill(a, id, given));
    gone.push(`will/gone${i}`);
  }
  const beganMs = performance.now();
  if (how === "stop") await a.stop();
  else await a.ctl(how);
  for (const client of clients) await client.closed();
  if (how === "stop") await a.start();
  for (let i = 0; i < 6; i++) {
    const at = i % 2 === 0 ? b : c;
    await until("a connection at another node", () =>
      at.connect({ clientId: `back${i}`, protocolVersion: 5, clean: i < 4 }).catch(() => undefined),
    );
  }
  if (performance.now() - beganMs > graceSeconds * 1000) return false;
  assert.deepEqual(topics(watcher), []);
  await watcher.waitFor("the wills", () => topics(watcher).length >= gone.length, 60_000);
  assert.deepEqual(topics(watcher), gone);
  const end = await a.connect({ clientId: "end" }).catch(() => b.connect());
  await end.publish("will/end", "end");
  if (how !== "leave_cluster") {
    await watcher.waitFor("the end", () => topics(watcher).includes("will/end"));
  }
  assert.deepEqual(
    topics(watcher).filter((topic) => topic !== "will/end"),
    gone,
  );
  return true;
}
