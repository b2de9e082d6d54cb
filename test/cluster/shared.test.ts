/** A share group over three real processes and real clients, one of the processes killed. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { startNodes, type TestClient, type TestNode, until } from "../support/nodes.js";

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

/** So many members at each node; their clients. */
async function members(
  t: TestContext,
  settings: readonly string[],
  perNode: readonly number[],
): Promise<{ nodes: TestNode[]; clients: TestClient[] }> {
  const nodes = await startNodes(t, { nodes: perNode.length, settings });
  const clients: TestClient[] = [];
  for (const [index, node] of nodes.entries()) {
    for (let i = 0; i < (perNode[index] ?? 0); i++) {
      const client = await node.connect({ protocolVersion: 5 });
      await client.subscribe("$share/g/t/#", 1);
      clients.push(client);
    }
  }
  return { nodes, clients };
}

for (const strategy of ["random", "round_robin"] as const) {
  test(`eight members on three nodes get their shares: ${strategy}`, async (t) => {
    const { nodes, clients } = await members(t, [`shared.strategy=${strategy}`], [4, 3, 1]);
    // So many that chance alone takes nobody a tenth away from its share.
    const each = strategy === "random" ? 2000 : 200;
    const count = each * clients.length;
    const publishers = await Promise.all(nodes.map((node) => node.connect({ protocolVersion: 5 })));
    for (let first = 0; first < count; first += 300) {
      const burst = Array.from({ length: Math.min(300, count - first) }, (_, i) =>
        publishers[i % publishers.length]?.publish(`t/${i % 7}`, `${first + i}`),
      );
      await Promise.all(burst);
    }
    const shares = () => clients.map((client) => client.received.length);
    const sum = () => shares().reduce((total, share) => total + share, 0);
    await until("every message", () => sum() >= count || undefined, shares);
    assert.equal(sum(), count);
    for (const share of shares()) {
      assert.ok(Math.abs(share - each) <= each / 10, `${strategy}: ${shares().join(" ")}`);
    }
  });
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
