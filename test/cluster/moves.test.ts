/** Real nodes: a session moves while messages flow to it, and nothing is lost, doubled or out of order. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { startNodes, type TestClient, type TestNode, until } from "../support/nodes.js";

const persistent = {
  ...({ clientId: "away", protocolVersion: 5, clean: false } as const),
  properties: { sessionExpiryInterval: 3600 },
};

interface Flow {
  readonly acknowledged: string[];
  stop(): Promise<void>;
}

/** Publishes numbers to the topic without a pause, a few at a time. */
function flow(client: TestClient, topic: string, name: string, qos: 1 | 2): Flow {
  const acknowledged: string[] = [];
  let isOver = false;
  const one = async (): Promise<void> => {
    for (let i = 0; !isOver; i++) {
      const payload = `${name} ${i}`;
      await client.publish(topic, payload, { qos });
      acknowledged.push(payload);
    }
  };
  const running = one();
  return {
    acknowledged,
    stop: () => {
      isOver = true;
      return running;
    },
  };
}

const numberOf = (payload: string): number => Number(payload.split(" ")[1]);

/** All of it, once, each publisher's in order. */
function checkAll(received: readonly string[], flows: readonly Flow[]): void {
  assert.equal(new Set(received).size, received.length, "twice");
  for (const { acknowledged } of flows) {
    const name = acknowledged[0]?.split(" ")[0] ?? "";
    const own = received.filter((payload) => payload.startsWith(`${name} `)).map(numberOf);
    assert.deepEqual(
      own,
      own.toSorted((one, other) => one - other),
      name,
    );
    const missing = acknowledged.filter((payload) => !received.includes(payload));
    assert.deepEqual(missing, [], name);
  }
}

async function moves(from: TestNode, to: TestNode, clientId = "away"): Promise<number> {
  const done = await from.ctl<{ messages: number }>("sessions move", {
    client: clientId,
    node: to.name,
  });
  return done.messages;
}

/** Messages flow from all nodes while the session goes from each to the next. */
async function wander(nodes: readonly TestNode[]): Promise<void> {
  const [first, ...others] = nodes;
  assert.ok(first !== undefined);
  const away = await first.connect(persistent);
  await away.subscribe("t/#", 2);
  await away.mqtt.endAsync();
  const flows: Flow[] = [];
  for (const [index, node] of nodes.entries()) {
    for (const qos of [1, 2] as const) {
      flows.push(flow(await node.connect(), `t/${index}`, `p${index}q${qos}`, qos));
    }
  }
  const isFlowing = (): boolean => flows.every(({ acknowledged }) => acknowledged.length > 20);
  await until("some messages", () => isFlowing() || undefined);
  let at = first;
  for (const next of [...others, first, ...others]) {
    assert.ok((await moves(at, next)) > 50);
    at = next;
  }
  for (const one of flows) await one.stop();
  const back = await at.connect(persistent);
  await back.payloads(flows.reduce((sum, { acknowledged }) => sum + acknowledged.length, 0));
  checkAll(
    back.received.map(({ payload }) => payload),
    flows,
  );
  for (const node of nodes) assert.equal(await node.metric("moves.failed_in"), 0);
}

test("a session goes from node to node while all of them publish to it", async (t) => {
  const [a, b, c] = await startNodes(t, { nodes: 3 });
  assert.ok(a !== undefined && b !== undefined && c !== undefined);
  await wander([a, b, c]);
  await assert.rejects(moves(a, b, "nobody"), /no session of that client/);
  await assert.rejects(moves(a, a), /is at n1@127\.0\.0\.1 already/);
  const nowhere = a.ctl("sessions move", { client: "away", node: "x@h" });
  await assert.rejects(nowhere, /x@h is not a member of this cluster/);
});

/** The session goes round while its client is connected to the first node, and publishes as well. */
async function wanderLive(nodes: readonly TestNode[]): Promise<void> {
  const [first, ...others] = nodes;
  assert.ok(first !== undefined);
  const live = await first.connect({ ...persistent, clientId: "live" });
  await live.subscribe("t/#", 2);
  const watcher = await first.connect();
  await watcher.subscribe("u/#", 2);
  const inwards: Flow[] = [];
  for (const [index, node] of nodes.entries()) {
    for (const qos of [1, 2] as const) {
      inwards.push(flow(await node.connect(), `t/${index}/${qos}`, `p${index}q${qos}`, qos));
    }
  }
  const outwards = ([1, 2] as const).map((qos) => flow(live, `u/${qos}`, `live${qos}`, qos));
  const all = [...inwards, ...outwards];
  const more = (): Promise<true> => {
    const before = all.map(({ acknowledged }) => acknowledged.length);
    const flows = (): boolean =>
      all.every(({ acknowledged }, index) => acknowledged.length > (before[index] ?? 0) + 10);
    return until("some messages", () => flows() || undefined);
  };
  await more();
  let at = first;
  for (const next of [...others, first, ...others, first]) {
    await moves(at, next, "live");
    at = next;
    await more();
  }
  for (const one of all) await one.stop();
  assert.equal(live.mqtt.connected, true);
  for (const [client, flows] of [
    [live, inwards],
    [watcher, outwards],
  ] as const) {
    await client.payloads(flows.reduce((sum, { acknowledged }) => sum + acknowledged.length, 0));
    checkAll(
      client.received.map(({ payload }) => payload),
      flows,
    );
    assert.ok(
      client.received.every(({ packet }) => !packet.dup),
      "nothing is sent again",
    );
  }
}

test("a session goes round while its client is connected, which does not notice", async (t) => {
  await wanderLive(await startNodes(t, { nodes: 3 }));
});

test("sessions in memory move as well", async (t) => {
  const nodes = await startNodes(t, { nodes: 2, settings: ["store.kind=memory"] });
  await wander(nodes);
  await wanderLive(nodes);
});

test("a connected client keeps its will, its share of a group and its session when that moves", async (t) => {
  const [a, b] = await startNodes(t, { nodes: 2 });
  assert.ok(a !== undefined && b !== undefined);
  const watcher = await b.connect();
  await watcher.subscribe("will/#");
  const will = { topic: "will/live", payload: Buffer.from("gone"), qos: 1, retain: false } as const;
  const live = await a.connect({ ...persistent, clientId: "live", will });
  await live.subscribe("$share/g/s", 1);
  await moves(a, b, "live");
  for (const [index, node] of [a, b, a].entries()) {
    await (await node.connect()).publish("s", `s${index}`);
    await live.payloads(index + 1);
  }
  await live.subscribe("later", 2);
  await moves(b, a, "live");
  await watcher.publish("later", "came", { qos: 2 });
  await live.payloads(4);
  assert.deepEqual(topicsOf(watcher), []);
  await moves(a, b, "live");
  live.mqtt.stream.destroy();
  await watcher.payloads(1);
  const back = await b.connect({ ...persistent, clientId: "live" });
  await watcher.publish("later", "again", { qos: 2 });
  assert.deepEqual(await back.payloads(1), ["again"]);
  assert.deepEqual(topicsOf(watcher), ["will/live"]);
});

const topicsOf = ({ received }: TestClient): string[] => received.map(({ topic }) => topic);
