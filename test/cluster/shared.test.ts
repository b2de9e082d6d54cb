/** A share group over three real processes and real clients, one of the processes killed. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { startNodes, type TestClient, until } from "../support/nodes.js";

interface Explained {
  readonly groups: readonly {
    readonly filter: string;
    readonly local: readonly { readonly clientId: string }[];
    readonly peers: readonly {
      readonly node: string;
      readonly members: { readonly online: number };
    }[];
  }[];
}

interface Routes {
  readonly items: readonly {
    readonly node: string;
    readonly members?: { readonly online: number };
  }[];
}

test("each message reaches one member in the cluster, also while a node is killed", async (t) => {
  const nodes = await startNodes(t, { nodes: 3, settings: ["shared.strategy=round_robin"] });
  const [one, two, three] = nodes;
  assert.ok(one !== undefined && two !== undefined && three !== undefined);
  const members: TestClient[] = [];
  for (const node of [one, two, three]) {
    for (const protocolVersion of [4, 5] as const) {
      const client = await node.connect({ protocolVersion });
      await client.subscribe("$share/g/t/#", 1);
      members.push(client);
    }
  }
  const publisher = await one.connect({ protocolVersion: 5 });
  const count = 120;
  for (let i = 0; i < count; i++) await publisher.publish(`t/${i % 4}`, `${i}`);
  const received = (): string[] =>
    members.flatMap((client) => client.received.map(({ payload }) => payload));
  const seen = () => received().length;
  await until("every message", () => seen() >= count || undefined, seen);
  assert.equal(new Set(received()).size, count);
  assert.equal(seen(), count);
  assert.deepEqual(
    members.map((client) => client.received.length),
    members.map(() => count / members.length),
  );

  const { groups } = await one.ctl<Explained>("explain", { topic: "t/1" });
  assert.equal(groups[0]?.filter, "$share/g/t/#");
  assert.equal(groups[0]?.local.length, 2);
  assert.deepEqual(
    groups[0]?.peers.map(({ members: { online } }) => online),
    [2, 2],
  );
  const routes = await two.ctl<Routes>("routes list", { filter: "$share/g/t/#" });
  assert.equal(routes.items.length, 3);

  // Published while a node dies: all is acknowledged, and from then on all reaches those that are left.
  const sending = Array.from({ length: count }, (_, i) => publisher.publish("t/1", `after ${i}`));
  await three.kill();
  await Promise.all(sending);
  for (let i = count; i < 2 * count; i++) await publisher.publish("t/1", `after ${i}`);
  const last = Array.from({ length: count }, (_, i) => `after ${count + i}`);
  const missing = (): string[] => {
    const got = new Set(received());
    return last.filter((payload) => !got.has(payload));
  };
  await until("what was published afterwards", () => missing().length === 0 || undefined, missing);
});
