/**
 * A node of a world that runs the real cluster and the real router, with stand-ins for the layers
 * above them. The same node may be started again after a crash: its disk stays, all else is new.
 */
import assert from "node:assert/strict";
import { Cluster } from "../../src/cluster/cluster.js";
import type { ClusterSettings } from "../../src/cluster/context.js";
import { Discovery, openStrategies } from "../../src/cluster/discovery/index.js";
import { Joiner } from "../../src/cluster/joiner.js";
import { parseNodeName } from "../../src/cluster/names.js";
import { Backoff } from "../../src/lib/backoff.js";
import type { Log } from "../../src/lib/log.js";
import type { Qos } from "../../src/protocol/publish.js";
import { Message } from "../../src/routing/message.js";
import { Router } from "../../src/routing/router.js";
import type { SharedStrategy } from "../../src/routing/shared.js";
import { Commits } from "../../src/store/commits.js";
import type { Store } from "../../src/store/store.js";
import { FakeConnections, FakeSubscriber, payloadOf } from "./fakes.js";
import type { Life, WorldNode } from "./world/node.js";
import type { World } from "./world/world.js";

/** The ports that nodes of a world try; few, since looking for a node asks all of them. */
const portRange = [4370, 4373] as const;

export const clusterSettings: ClusterSettings = {
  bind: "0.0.0.0",
  portRange,
  advertiseHost: null,
  advertisePort: null,
  heartbeatIntervalMs: 500,
  suspectAfterMs: 2500,
  confirmTimeoutMs: 500,
  redialMaxMs: 5000,
  outputBytes: 8 * 1024 * 1024,
  ackTimeoutMs: 5000,
  syncTimeoutMs: 1000,
  takeoverTimeoutMs: 2000,
  outboxMessages: 1_000_000,
  outboxBytes: 1024 ** 3,
  forgetAfterMs: 7 * 86_400_000,
  outboxAgeMs: 7 * 86_400_000,
  frameMax: 16 * 1024 * 1024,
};

export interface ClusterNodeOptions {
  readonly cookie?: string;
  readonly settings?: Partial<ClusterSettings>;
  readonly wallOffsetMs?: number;
  /** `cluster.discovery.static.nodes`. */
  readonly discovery?: readonly string[];
  readonly retainedMessages?: number;
  /** `shared.strategy`. */
  readonly strategy?: SharedStrategy;
  /** A process of this node sees a peer go down. */
  readonly onDown?: (process: Process, peer: string) => void;
}

/** A line that a node logged at level warn or error. */
export interface Complaint {
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** A subscription of this process, and when its SUBACK came. */
export interface Subscription {
  readonly subscriber: FakeSubscriber;
  readonly filter: string;
  synced: boolean;
}

/** Everything of one process. */
export interface Process {
  readonly life: Life;
  readonly cluster: Cluster;
  readonly router: Router;
  readonly joiner: Joiner;
  readonly connections: FakeConnections;
  readonly subscribers: Map<string, FakeSubscriber>;
}

export class ClusterNode {
  readonly place: WorldNode;
  readonly complaints: Complaint[] = [];
  /** Messages that were accepted after `publish` had returned. */
  readonly accepted: Message[] = [];
  private running: Process | null = null;

  constructor(
    readonly world: World,
    readonly name: string,
    /** For the next process; may be changed between two. */
    public options: ClusterNodeOptions = {},
  ) {
    this.place = world.node(name, { wallOffsetMs: options.wallOffsetMs ?? 0 });
  }

  /** The process that runs. */
  get process(): Process {
    if (this.running === null) throw new Error(`${this.name} does not run`);
    return this.running;
  }

  get isRunning(): boolean {
    return this.running !== null;
  }

  get cluster(): Cluster {
    return this.process.cluster;
  }

  get router(): Router {
    return this.process.router;
  }

  get connections(): FakeConnections {
    return this.process.connections;
  }

  /** Starts the process and waits until it listens for links. */
  async start(): Promise<void> {
    await this.world.settled(this.boot(), 5_000, `${this.name} starts`);
  }

  /** Starts the process. The promise is of the world: only `world.run` and its like bring it on. */
  async boot(): Promise<void> {
    const life = this.place.boot();
    const { clock, random, transport } = life;
    const durable = durableOf(life);
    const cluster = new Cluster({
      ...{ name: this.name, clock, random, transport },
      cookie: this.options.cookie ?? "the cookie of the world",
      settings: { ...clusterSettings, ...this.options.settings },
      log: this.logOf(life),
      stateFile: life.file("cluster"),
      durable,
    });
    const { retainedMessages: messages = 1000, strategy = "random" } = this.options;
    const limits = { messages, bytes: 1e6, forgetAfterMs: 7 * 86_400_000, ttlMs: 0 };
    const router = new Router(cluster, limits, clock, { strategy, random });
    const later = (done: () => void): void => {
      clock.setTimer(random.fraction() * 50, done);
    };
    const nowMs = (): number => this.world.nowMs;
    const connections = new FakeConnections(cluster.directory, nowMs, later);
    cluster.attach({
      ...{ user: router, host: connections },
      load: () => ({ connections: connections.all.length, sessions: 0 }),
    });
    const joiner = new Joiner(cluster);
    this.running = { life, cluster, router, joiner, connections, subscribers: new Map() };
    await cluster.start();
    this.startDiscovery(life, cluster, joiner);
  }

  /** Stops in order, as a broker does. */
  stop(): void {
    this.process.cluster.stop();
    this.crash();
  }

  /** kill -9. */
  crash(): void {
    this.place.crash();
    this.running = null;
  }

  async restart(): Promise<void> {
    this.crash();
    await this.start();
  }

  /** Joins the cluster of another node, as `join_cluster` does. */
  async join(other: ClusterNode | string): Promise<void> {
    const name = typeof other === "string" ? other : other.name;
    await this.world.settled(this.process.joiner.join(name), 30_000, `${this.name} joins ${name}`);
  }

  async leave(): Promise<void> {
    await this.world.settled(this.process.joiner.leave(), 30_000, `${this.name} leaves`);
  }

  async remove(other: ClusterNode): Promise<void> {
    const { joiner } = this.process;
    await this.world.settled(joiner.remove(other.name), 30_000, `removal of ${other.name}`);
  }

  /** The subscriber with that client id in this process. */
  subscriber(clientId: string): FakeSubscriber {
    const { subscribers } = this.process;
    let subscriber = subscribers.get(clientId);
    if (subscriber === undefined) {
      subscriber = new FakeSubscriber(clientId);
      subscribers.set(clientId, subscriber);
    }
    return subscriber;
  }

  /** Subscribes; the returned record says when SUBACK may leave. */
  subscribeSoon(
    clientId: string,
    filter: string,
    qos: Qos = 1,
    durable = false,
    onSuback: () => void = () => undefined,
  ): Subscription {
    const subscriber = this.subscriber(clientId);
    const options = { qos, noLocal: false, retainAsPublished: true, subscriptionId: 0 };
    const subscription: Subscription = { subscriber, filter, synced: false };
    this.router.subscribe(subscriber, filter, options, durable);
    this.router.whenSynced(() => {
      subscription.synced = true;
      onSuback();
    });
    return subscription;
  }

  /** Subscribes, and waits until SUBACK may leave. */
  async subscribe(
    clientId: string,
    filter: string,
    qos: Qos = 1,
    durable = false,
  ): Promise<FakeSubscriber> {
    const subscription = this.subscribeSoon(clientId, filter, qos, durable);
    await this.world.until(() => subscription.synced, 5_000, `SUBACK of ${filter} at ${this.name}`);
    return subscription.subscriber;
  }

  /** Publishes. PUBACK may leave at once when nothing is pending; else `onAccepted` is called. */
  publish(
    topic: string,
    payload: string,
    qos: Qos = 1,
    retain = false,
    publisher = "p",
    onAccepted: () => void = () => undefined,
  ): Message {
    const bytes = Buffer.from(payload);
    const interned = this.router.topics.internName(topic);
    const message = new Message(interned, qos, retain, publisher, bytes, 0, 0, 0, bytes.length);
    message.sink = {
      onAccepted: () => {
        this.accepted.push(message);
        onAccepted();
      },
    };
    this.router.publish(message);
    return message;
  }

  /** How this node sees another. */
  state(other: ClusterNode): string {
    return this.cluster.state(other.name);
  }

  /** Forwards sent to another node so far, repeats included. */
  forwardsTo(other: ClusterNode): number {
    return this.cluster.peer(other.name)?.sender.counters.forwards ?? 0;
  }

  /** The retained messages and tombstones of this node, in words. */
  retained(): Map<string, string> {
    const all = new Map<string, string>();
    for (const { topic, stamp, message } of this.router.retained.all()) {
      all.set(topic, `${stamp} ${message === null ? "deleted" : payloadOf(message)}`);
    }
    return all;
  }

  /** Has the node complained in these words? */
  complained(words: string): boolean {
    return this.complaints.some((complaint) => JSON.stringify(complaint).includes(words));
  }

  private startDiscovery(life: Life, cluster: Cluster, joiner: Joiner): void {
    const { discovery: nodes = [] } = this.options;
    const { clock, random } = life;
    const log = this.logOf(life);
    const discovery = new Discovery({
      ...{ clock, random, log, strategies: openStrategies({ static: { nodes } }) },
      self: () => ({ name: this.name, ...addressOf(cluster) }),
      onFound: (found) => {
        joiner.joinFound(found).catch((error: unknown) => {
          log.warn({ error: String(error) }, "cannot join a node that was found");
        });
      },
    });
    discovery.start();
  }

  private logOf(life: Life): Log {
    const complain =
      (level: "warn" | "error") =>
      (fields: object, message: string): void => {
        this.complaints.push({ message, fields: { ...fields } });
        life.log[level](fields, message);
      };
    const info = (fields: object, message: string): void => {
      life.log.info(fields, message);
      if (message !== "peer is down" || this.running === null || !("peer" in fields)) return;
      this.options.onDown?.(this.running, String(fields.peer));
    };
    const { debug, child } = life.log;
    return { debug, info, child, level: "debug", warn: complain("warn"), error: complain("error") };
  }
}

/** The store of a process, and its commits. */
function durableOf(life: Life): { store: Store; commits: Commits } {
  const { clock, random } = life;
  const store = life.openStore();
  const commits = new Commits({
    ...{ store, clock, intervalMs: 0, slowMs: 10_000, backoff: new Backoff(random, 50, 1000) },
    onStalled: () => undefined,
    onBroken: ({ why }) => assert.fail(why),
  });
  return { store, commits };
}

function addressOf(cluster: Cluster): { host: string; port: number } {
  return { host: parseNodeName(cluster.name).host, port: cluster.acceptor.port };
}

/** Runs until every node sees every other one up. */
export async function allUp(
  world: World,
  nodes: readonly ClusterNode[],
  deadlineMs = 15_000,
): Promise<void> {
  const seen = (): string =>
    nodes
      .map((a) => nodes.map((b) => `${a.name} sees ${b.name} ${a.state(b)}`).join("\n"))
      .join("\n");
  const up = (): boolean => nodes.every((a) => nodes.every((b) => a.state(b) === "up"));
  await world.until(up, deadlineMs, seen);
}

/** Names `a@ha`, `b@hb`, … `z@hz`, `a1@ha1`, … */
export function nodeName(index: number): string {
  const round = Math.floor(index / 26);
  const label = String.fromCharCode(97 + (index % 26)) + (round === 0 ? "" : round);
  return `${label}@h${label}`;
}

/** Nodes that run and have joined the first of them. */
export async function startCluster(
  world: World,
  count: number,
  options: ClusterNodeOptions = {},
): Promise<ClusterNode[]> {
  const nodes = Array.from(
    { length: count },
    (_, i) => new ClusterNode(world, nodeName(i), options),
  );
  const [first, ...others] = nodes;
  if (first === undefined) return [];
  await first.start();
  for (const node of others) {
    await node.start();
    await node.join(first);
  }
  await allUp(world, nodes);
  return nodes;
}
