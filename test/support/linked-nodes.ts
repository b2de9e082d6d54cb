/** Several nodes in this process, with real sockets for clients and links, joined. Nothing is durable. */
import type { TestContext } from "node:test";
import { Acl } from "../../src/auth/acl/acl.js";
import { Bans } from "../../src/auth/bans/bans.js";
import { Cluster } from "../../src/cluster/cluster.js";
import { Joiner } from "../../src/cluster/joiner.js";
import type { ClusterState } from "../../src/cluster/member-list.js";
import { home } from "../../src/cluster/rendezvous.js";
import { tcpTransport } from "../../src/cluster/tcp.js";
import { realClock } from "../../src/lib/clock.js";
import { silentLog } from "../../src/lib/log.js";
import { realRandom } from "../../src/lib/random.js";
import { TimerWheel } from "../../src/lib/timer-wheel.js";
import { FrontEnd } from "../../src/net/front-end.js";
import { Router } from "../../src/routing/router.js";
import type { RemoteEnds } from "../../src/session/remote/ends.js";
import { serveWills, willNetwork } from "../../src/session/will-network.js";
import type { StateFile } from "../../src/store/state-file.js";
import { clusterSettings } from "../sim/cluster-node.js";
import { nobody, type Settings, testConfig } from "./front-end.js";
import { eventually } from "./mqtt-client.js";

/** A state file that lives as long as the process. */
export function memoryFile(): StateFile<ClusterState> {
  let value: ClusterState | undefined;
  return {
    load: async () => ({ value, damaged: null }),
    save: async (saved) => {
      value = saved;
    },
  };
}

export class LinkedNode {
  private constructor(
    readonly cluster: Cluster,
    readonly frontEnd: FrontEnd,
    readonly router: Router,
    /** Of its listener for clients. */
    readonly port: number,
  ) {}

  static async start(t: TestContext, name: string, settings: Settings): Promise<LinkedNode> {
    const config = testConfig(settings);
    const cluster = new Cluster({
      ...{ name, cookie: "a cookie", clock: realClock, random: realRandom, log: silentLog },
      settings: { ...clusterSettings, bind: "127.0.0.1", portRange: [0, 0] },
      transport: tcpTransport(realClock, silentLog),
      stateFile: memoryFile(),
      durable: null,
    });
    const limits = { messages: 1000, bytes: 1e8, forgetAfterMs: 60_000, ttlMs: 0 };
    const router = new Router(cluster, limits, realClock);
    const wheel = new TimerWheel(realClock);
    const frontEnd = new FrontEnd({
      ...{ config, router, clock: realClock, wheel, random: realRandom, log: silentLog },
      ...{ directory: cluster.directory, cluster, users: nobody, journals: null },
      ...{
        willNetwork: willNetwork(cluster, realClock),
        bans: new Bans(realClock, cluster.common),
      },
      authorizer: new Acl(config.auth, silentLog),
      connectionsMax: 1000,
    });
    cluster.attach({
      ...{ user: router, host: frontEnd.sessions.places },
      load: () => ({ connections: frontEnd.connected, sessions: frontEnd.sessions.size }),
    });
    const { holders } = frontEnd.sessions.wills;
    if (holders !== null) serveWills(cluster, holders);
    await cluster.start();
    const { port } = await frontEnd.start();
    const node = new LinkedNode(cluster, frontEnd, router, port);
    t.after(async () => {
      await node.stop();
      wheel.close();
      const bugs = frontEnd.counters.bugs + node.remote.counters.bugs;
      if (bugs > 0) throw new Error(`${name} counted ${bugs} bugs`);
    });
    return node;
  }

  get name(): string {
    return this.cluster.name;
  }

  get remote(): RemoteEnds {
    const { remote } = this.frontEnd.sessions;
    if (remote === null) throw new Error("a node without a cluster");
    return remote;
  }

  async stop(): Promise<void> {
    await this.frontEnd.stop();
    this.cluster.stop();
  }
}

/** Starts so many nodes, all up for each other. */
export async function linkedNodes(
  t: TestContext,
  count: number,
  settings: Settings = {},
): Promise<LinkedNode[]> {
  const nodes: LinkedNode[] = [];
  for (let i = 0; i < count; i++) {
    const node = await LinkedNode.start(t, `node${i}@127.0.0.1`, settings);
    const [first] = nodes;
    if (first !== undefined) {
      await new Joiner(node.cluster).join(`${first.name}:${first.cluster.acceptor.port}`);
    }
    nodes.push(node);
  }
  const areUp = (): boolean =>
    nodes.every((one) => nodes.every((other) => one.cluster.state(other.name) === "up"));
  await eventually(areUp, "all nodes to be up");
  return nodes;
}

/** A client id that has its home at that node. */
export function clientIdAt(
  node: LinkedNode,
  nodes: readonly LinkedNode[],
  stem = "client",
): string {
  const names = nodes.map(({ name }) => name);
  for (let i = 0; ; i++) if (home(`${stem}-${i}`, names) === node.name) return `${stem}-${i}`;
}
