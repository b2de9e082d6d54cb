/** Events of clients, at real nodes: who comes and goes, with a node that dies too; nothing while nobody watches. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { PresenceCopies, type Client } from "../../src/session/presence-copies.js";
import { startNodes, type TestClient, type TestNode, until } from "../support/nodes.js";

interface Seen {
  readonly topic: string;
  readonly event: Record<string, unknown>;
}

const seenBy = (watcher: TestClient): Seen[] =>
  watcher.received.map(({ topic, payload }) => ({ topic, event: JSON.parse(payload) }));

/** `connected c1` and so on of one client, in order. */
const storyOf = (watcher: TestClient, clientId: string): string[] =>
  seenBy(watcher)
    .filter(({ event }) => event.clientid === clientId)
    .map(({ topic }) => topic.slice(topic.lastIndexOf("/") + 1));

async function tells(watcher: TestClient, clientId: string, story: string[]): Promise<void> {
  await until(
    `the story of ${clientId}`,
    () => storyOf(watcher, clientId).join(" ") === story.join(" ") || undefined,
    () => storyOf(watcher, clientId).join(" "),
  );
}

async function held(nodes: readonly TestNode[], count: number): Promise<void> {
  await until("what deputies hold", async () => {
    const all = await Promise.all(nodes.map((node) => node.metric("presence.held")));
    return all.reduce((sum, one) => sum + one, 0) === count || undefined;
  });
}

test("who comes and goes is told once, also when the node dies", async (t) => {
  const [a, b] = await startNodes(t, { nodes: 2 });
  assert.ok(a !== undefined && b !== undefined);
  await b.connect({ clientId: "before" });
  assert.equal(await b.metric("presence.events"), 0);
  const watcher = await a.connect({ clientId: "watcher" });
  await watcher.subscribe("$SYS/brokers/+/clients/#", 1);
  // Who was there when somebody began to watch is held, and nobody is told.
  await held([a, b], 2);
  const client = await b.connect({ clientId: "a/b+c", username: "anna", keepalive: 77 });
  await tells(watcher, "a/b+c", ["connected"]);
  const [first] = seenBy(watcher);
  assert.equal(first?.topic, `$SYS/brokers/${b.name}/clients/a%2Fb%2Bc/connected`);
  const { ts, connected_at, sockport, ...plain } = first?.event ?? {};
  assert.deepEqual(plain, {
    ...{ clientid: "a/b+c", username: null, node: b.name },
    ...{ ipaddress: "127.0.0.1", proto_ver: 4, keepalive: 77 },
  });
  for (const number of [ts, connected_at, sockport]) assert.equal(typeof number, "number");
  await client.mqtt.endAsync();
  await tells(watcher, "a/b+c", ["connected", "disconnected"]);
  assert.equal(seenBy(watcher).at(-1)?.event.reason, "disconnect");

  // Taken over at another node: gone there, here now.
  await b.connect({ clientId: "moving" });
  await tells(watcher, "moving", ["connected"]);
  const moved = await a.connect({ clientId: "moving" });
  // Two nodes tell it: which of them is heard first is not said.
  const stories = (): string => storyOf(watcher, "moving").sort().join(" ");
  await until(
    "both events",
    () => stories() === "connected connected disconnected" || undefined,
    stories,
  );
  await moved.mqtt.endAsync();

  await b.connect({ clientId: "doomed" });
  await tells(watcher, "doomed", ["connected"]);
  await b.kill();
  await tells(watcher, "doomed", ["connected", "disconnected"]);
  await tells(watcher, "before", ["disconnected"]);
  const last = seenBy(watcher).find(({ event }) => event.reason === "node_down");
  assert.match(last?.topic ?? "", /^\$SYS\/brokers\/n2@127\.0\.0\.1\/clients\//);
  await b.start();
  await a.sees([a, b]);
  const again = await b.connect({ clientId: "doomed" });
  await tells(watcher, "doomed", ["connected", "disconnected", "connected"]);
  await again.mqtt.endAsync();
  await tells(watcher, "doomed", ["connected", "disconnected", "connected", "disconnected"]);

  await watcher.mqtt.unsubscribeAsync("$SYS/brokers/+/clients/#");
  const published = await b.metric("presence.events");
  const unseen = await b.connect({ clientId: "unseen" });
  await unseen.mqtt.endAsync();
  assert.equal(await b.metric("presence.events"), published);
});

test("events are paced, beyond the limit dropped and counted, and can be turned off", async (t) => {
  const settings = ["presence.events_per_second=1", "presence.events_waiting=2"];
  const [node] = await startNodes(t, { nodes: 1, settings });
  assert.ok(node !== undefined);
  const watcher = await node.connect({ clientId: "watcher" });
  await watcher.subscribe("$SYS/#", 1);
  for (let i = 0; i < 4; i++) {
    const client = await node.connect({ clientId: `c${i}` });
    await client.mqtt.endAsync();
  }
  await until(
    "dropped events",
    async () => (await node.metric("presence.dropped")) >= 3 || undefined,
  );
  await until(
    "events that waited",
    async () => (await node.metric("presence.waiting")) === 0 || undefined,
  );
  const told = (await node.metric("presence.events")) + (await node.metric("presence.dropped"));
  assert.equal(told, 8);

  const [off] = await startNodes(t, { nodes: 1, settings: ["presence.events=false"] });
  assert.ok(off !== undefined);
  const nobody = await off.connect({ clientId: "watcher" });
  await nobody.subscribe("$SYS/#", 1);
  await (await off.connect({ clientId: "c" })).mqtt.endAsync();
  await nobody.publish("$SYS/x", "ignored");
  assert.deepEqual([await off.metric("presence.events"), nobody.received.length], [0, 0]);
});

test("a deputy forgets a departure only with the next report, and begins anew with a new process", () => {
  const gone: string[] = [];
  const copies = new PresenceCopies((node, { clientId }) => gone.push(`${node} ${clientId}`));
  const client = (clientId: string): Client => ({ clientId, user: "" });
  const report = (incarnation: number, begin: boolean, add: string[], remove: string[] = []) =>
    copies.take("b", { incarnation, begin, add: add.map(client), remove: remove.map(client) });
  assert.deepEqual(report(1, false, ["x"]), { again: true, wasGone: false });
  assert.deepEqual(report(1, true, ["x", "y"]), { again: false, wasGone: false });
  report(1, false, [], ["x"]);
  assert.equal(copies.size, 2);
  report(1, false, ["z"]);
  assert.equal(copies.size, 2);
  report(1, false, [], ["z"]);
  copies.onDown("b");
  copies.onDown("b");
  assert.deepEqual(gone, ["b y", "b z"]);
  // The same process is back: it was cut off. A later one had nobody.
  assert.equal(report(1, true, ["y"]).wasGone, true);
  copies.onDown("b");
  assert.equal(report(2, true, []).wasGone, false);
  copies.keep(new Set());
  assert.deepEqual([copies.size, report(2, false, ["q"]).again], [0, true]);
});
