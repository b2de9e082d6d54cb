/** Real nodes that are killed: the wills of those who were connected are published, once. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { startNodes, type TestClient, type TestNode } from "../support/nodes.js";

const watcherId = { clientId: "watcher", clean: false, protocolVersion: 4 } as const;

/** A persistent session that has subscribed to all wills and is away. */
async function watch(node: TestNode): Promise<void> {
  const client = await node.connect(watcherId);
  await client.subscribe("will/#", 2);
  await client.mqtt.endAsync();
}

interface Given {
  readonly qos?: 0 | 1 | 2;
  readonly delaySeconds?: number;
  readonly expirySeconds?: number;
}

function connectWithWill(node: TestNode, id: string, given: Given = {}): Promise<TestClient> {
  const { qos = 1, delaySeconds = 0, expirySeconds = 0 } = given;
  return node.connect({
    ...{ clientId: id, protocolVersion: 5, clean: false },
    properties: { sessionExpiryInterval: expirySeconds },
    will: {
      topic: `will/${id}`,
      payload: Buffer.from("gone"),
      qos,
      retain: false,
      properties: { willDelayInterval: delaySeconds },
    },
  });
}

/** The wills that came, after a message that was published behind them. */
async function wills(node: TestNode, wanted: readonly string[]): Promise<void> {
  const client = await node.connect(watcherId);
  const end = await node.connect();
  const seen = (): string[] => client.received.map(({ topic }) => topic.slice("will/".length));
  await client.waitFor("all wills", () => wanted.every((id) => seen().includes(id)));
  const mark = `${performance.now()}`;
  await end.publish("will/end", mark);
  await client.waitFor("the end", () => client.received.some(({ payload }) => payload === mark));
  // The end of an earlier look may come again: its acknowledgement may have died with the node.
  const found = seen().filter((id) => id !== "end");
  assert.deepEqual(found.sort(), [...wanted].sort());
  await client.mqtt.endAsync();
  end.mqtt.end(true);
}

test("kill -9: whoever was connected has died, and nobody else", async (t) => {
  const [node] = await startNodes(t, { nodes: 1 });
  assert.ok(node !== undefined);
  await watch(node);
  const left = await connectWithWill(node, "left");
  await left.mqtt.endAsync();
  const replaced = await connectWithWill(node, "replaced");
  await replaced.mqtt.endAsync();
  await node.connect({ clientId: "replaced", protocolVersion: 5 });
  // A CONNACK of a client with a will waits for the commit, which is also that of all before.
  await connectWithWill(node, "qos1");
  await connectWithWill(node, "qos2", { qos: 2, expirySeconds: 3600 });
  // The session ends with the node, and the delay with it.
  await connectWithWill(node, "no-session", { delaySeconds: 3600 });
  await connectWithWill(node, "waits", { delaySeconds: 3600, expirySeconds: 3600 });
  await node.kill();
  await node.start();
  await wills(node, ["qos1", "qos2", "no-session"]);
  await node.kill();
  await node.start();
  await wills(node, []);
});

test("a will delay goes on over kill -9, and whoever is back in time has not died", async (t) => {
  const [node] = await startNodes(t, { nodes: 1 });
  assert.ok(node !== undefined);
  await watch(node);
  const lost = await connectWithWill(node, "lost", { delaySeconds: 2, expirySeconds: 3600 });
  await connectWithWill(node, "dies", { delaySeconds: 1, expirySeconds: 3600 });
  await connectWithWill(node, "back", { delaySeconds: 2, expirySeconds: 3600 });
  lost.mqtt.stream.destroy();
  await lost.closed();
  await node.kill();
  await node.start();
  const back = await node.connect({
    ...{ clientId: "back", protocolVersion: 5, clean: false },
    properties: { sessionExpiryInterval: 3600 },
  });
  await wills(node, ["lost", "dies"]);
  await back.mqtt.endAsync();
});

test("an orderly stop without grace publishes wills as ever, and not again at the next start", async (t) => {
  const [node] = await startNodes(t, { nodes: 1, settings: ["drain.will_grace=0s"] });
  assert.ok(node !== undefined);
  await watch(node);
  await connectWithWill(node, "stopped", { qos: 2 });
  await node.stop();
  await node.start();
  await wills(node, ["stopped"]);
  await node.kill();
  await node.start();
  await wills(node, []);
});

test("a lone node that stops keeps wills for its next start: of those who are not back in time", async (t) => {
  const [node] = await startNodes(t, { nodes: 1, settings: ["drain.will_grace=4s"] });
  assert.ok(node !== undefined);
  await watch(node);
  await connectWithWill(node, "clean");
  await connectWithWill(node, "persistent", { expirySeconds: 3600 });
  await connectWithWill(node, "back");
  await node.stop();
  await node.start();
  const back = await node.connect({ clientId: "back", protocolVersion: 5 });
  await wills(node, ["clean", "persistent"]);
  await back.mqtt.endAsync();
});
