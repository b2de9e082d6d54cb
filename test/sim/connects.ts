/**
 * What a CONNECT costs the cluster: messages between nodes, counted where they leave, in clusters of three, ten and fifty
 * nodes. As many in each: the home of the client id is asked, and nobody else but those who have to do with it.
 */
import assert from "node:assert/strict";
import { Cluster } from "../../src/cluster/cluster.js";
import type { ClusterState } from "../../src/cluster/member-list.js";
import { home } from "../../src/cluster/rendezvous.js";
import { FrameType } from "../../src/cluster/wire/frames.js";
import type { Member } from "../../src/cluster/wire/messages.js";
import { Wire } from "../../src/cluster/wire/wire.js";
import { nodeName } from "./cluster-node.js";
import { SimClient } from "./sessions/client.js";
import { Ledger } from "./sessions/ledger.js";
import { SessionNode } from "./sessions/node.js";
import { replace } from "./rules/rule.js";
import { World } from "./world/world.js";

/** A question and its answer are two. */
const bounds = {
  /** The claim, and what became of it. */
  "a new client id": 4,
  "a client id whose session is here": 4,
  /** And the session is attached to. */
  "a client id whose session is at another node": 8,
  /** And the older connection is closed, which its node tells the home. */
  "a connection is taken over from another node": 22,
} as const;
type Case = keyof typeof bounds;
type Counts = Map<Case, number>;

/** A will is laid down at two holders, and an older one that comes to nothing is dropped there. */
const willBound = (what: Case): number =>
  what === "a connection is taken over from another node" ? 8 : 4;
const triesPerCase = 3;

/** Counts frames that leave while it is on, heartbeats left aside. */
class FrameCount {
  frames = 0;
  readonly undo: () => void;

  constructor() {
    const count = this;
    this.undo = replace(
      Wire.prototype,
      "send",
      (sound) =>
        function (this: Wire, bytes: Buffer) {
          count.add(bytes);
          return sound.call(this, bytes);
        },
    );
  }

  private add(bytes: Buffer): void {
    for (let at = 0; at < bytes.length; at += 4 + bytes.readUInt32BE(at)) {
      if (bytes[at + 4] !== FrameType.heartbeat) this.frames++;
    }
  }
}

/** Nodes that know each other from before, started at once: to tell each of each takes longer than all the rest. */
async function startNodes(world: World, count: number): Promise<SessionNode[]> {
  const settings = { session: { placement: "stay" } } as const;
  const nodes = Array.from(
    { length: count },
    (_, i) => new SessionNode(world, nodeName(i), settings),
  );
  const members = nodes.map(({ name, host }, i): Member => {
    const id = i.toString(16).padStart(32, "0");
    return { name, id, host, port: 4370, incarnation: 1, status: "in", stamp: 1 };
  });
  for (const [i, { place }] of nodes.entries()) {
    const state: ClusterState = { id: members[i]?.id ?? "", incarnation: 1, members, leftStamp: 0 };
    await world.settled(place.boot().file<ClusterState>("cluster").save(state), 100, "state");
    place.crash();
  }
  const undo = replace(Cluster.prototype, "gossip", () => () => undefined);
  for (const node of nodes) void node.boot();
  const isReady = (node: SessionNode): boolean =>
    node.isListening && node.namesUp().length === count;
  await world.until(() => nodes.every(isReady), 30_000, "all nodes are up");
  undo();
  await world.run(300);
  return nodes;
}

class Costs {
  readonly counts: Counts = new Map();
  private readonly ledger = new Ledger();

  constructor(
    private readonly world: World,
    private readonly nodes: readonly SessionNode[],
    private readonly count: FrameCount,
    private readonly hasWill: boolean,
  ) {}

  /** A client of which the home is neither of the two nodes that it uses, nor are these each other's. */
  async measure(number: number): Promise<void> {
    const { nodes, world } = this;
    const clientId = `client-${number}-${this.hasWill}`;
    const homeName = home(
      clientId,
      nodes.map(({ name }) => name),
    );
    const [here, there] = world.dice.shuffle(nodes.filter(({ name }) => name !== homeName));
    assert.ok(here !== undefined && there !== undefined);
    const life = world.node(`${clientId}@clients-${clientId}`).boot();
    const options = {
      clientId,
      version: 5,
      persistent: true,
      receiveMaximum: 100,
      window: 4,
    } as const;
    const client = new SimClient(life, here, options, this.ledger);
    client.staysOnline = false;
    if (this.hasWill) client.nextWill = () => ({ topic: "will", payload: clientId, qos: 1 });
    await this.connect("a new client id", client);
    await this.leave(client);
    await this.connect("a client id whose session is here", client);
    await this.leave(client);
    client.node = there;
    await this.connect("a client id whose session is at another node", client);
    const successor = new SimClient(life, here, options, this.ledger);
    successor.nextWill = client.nextWill;
    successor.session = "kept";
    await this.connect("a connection is taken over from another node", successor);
    assert.equal(client.state, "offline", "the older one is closed");
    assert.deepEqual([...client.faults, ...successor.faults], []);
    successor.staysOnline = false;
    await this.leave(successor);
  }

  private async connect(what: Case, client: SimClient): Promise<void> {
    const { world, count, counts } = this;
    const before = count.frames;
    client.connect();
    await world.until(() => client.state === "online", 2_000, what);
    await world.run(70);
    counts.set(what, Math.max(counts.get(what) ?? 0, count.frames - before));
  }

  private async leave(client: SimClient): Promise<void> {
    client.disconnect(false);
    await this.world.run(70);
  }
}

/** Measures in a cluster of so many nodes, and fails where a bound is passed. Returns how many turns it took. */
export async function tellConnects(size: number): Promise<number> {
  const count = new FrameCount();
  try {
    const world = new World(size);
    world.chunking = 0;
    const nodes = await startNodes(world, size);
    // What nodes ask each other after a start is asked.
    await world.run(2_000);
    for (const hasWill of [false, true]) {
      const costs = new Costs(world, nodes, count, hasWill);
      for (let i = 0; i < triesPerCase; i++) await costs.measure(i);
      for (const [what, most] of costs.counts) {
        const bound = bounds[what] + (hasWill ? willBound(what) : 0);
        const inWords = `${what}, ${size} nodes, will ${hasWill}: ${most} messages`;
        assert.ok(most <= bound, inWords);
        world.trace.note(inWords);
      }
    }
    return world.timeline.turns;
  } finally {
    count.undo();
  }
}
