/**
 * A random history from a seed: nodes that join, leave, crash, stall and are cut off, while they
 * subscribe, publish and take connections. It writes down what was promised on the way; checks.ts
 * compares that with what came of it.
 */
import type { Qos } from "../../src/protocol/publish.js";
import type { Message } from "../../src/routing/message.js";
import {
  allUp,
  ClusterNode,
  type ClusterNodeOptions,
  nodeName,
  type Process,
} from "./cluster-node.js";
import type { FakeSubscriber } from "./fakes.js";
import type { Dice } from "./world/dice.js";
import { World } from "./world/world.js";

/** A subscription of one process. */
export interface Subscribed {
  readonly node: ClusterNode;
  readonly process: Process;
  readonly subscriber: FakeSubscriber;
  readonly filter: string;
  readonly qos: Qos;
  readonly durable: boolean;
  readonly askedMs: number;
  readonly leaves: number;
  /** When SUBACK came. */
  syncedMs: number | null;
  /** The processes whose publishes SUBACK promises. */
  readonly covered: Set<Process>;
  endedMs: number;
}

/** A publish of one process, and to whom it was promised. */
export interface Sent {
  readonly node: ClusterNode;
  readonly process: Process;
  readonly message: Message;
  readonly payload: string;
  readonly atMs: number;
  readonly leaves: number;
  readonly promised: readonly Subscribed[];
  acceptedMs: number;
  timesAccepted: number;
}

/** A node saw another one go down. */
export interface Down {
  readonly process: Process;
  readonly peer: string;
  readonly atMs: number;
}

/** What may happen in a history, and how often: chosen by the seed, so that each has a character. */
interface Mix {
  readonly breaks: number;
  readonly crashes: number;
  readonly partitions: number;
  readonly stalls: number;
  readonly leaves: number;
  readonly removals: number;
  readonly claims: number;
  readonly retained: number;
}

const topics = ["t/a", "t/b", "t/a/x", "u"];
const filters = ["t/a", "t/b", "t/+", "t/#", "#", "u", "+/+/x"];
const clientIds = ["c1", "c2", "c3", "c4"];

export class Story {
  readonly world: World;
  readonly nodes: ClusterNode[] = [];
  readonly subscribed: Subscribed[] = [];
  readonly sent: Sent[] = [];
  readonly downs: Down[] = [];
  private readonly dice: Dice;
  private readonly mix: Mix;
  private readonly leavesOf = new Map<ClusterNode, number>();
  private readonly outside = new Set<ClusterNode>();
  /** Those of them that must discard their identity before they may come back. */
  private readonly removed = new Set<ClusterNode>();
  private counter = 0;
  private linksBefore = 0;

  constructor(readonly seed: number) {
    this.world = new World(seed);
    this.dice = this.world.dice;
    const some = (most: number): number => (this.dice.chance(0.5) ? this.dice.between(0, most) : 0);
    this.mix = {
      ...{ breaks: some(2), crashes: some(1), partitions: some(1.5), stalls: some(1) },
      ...{ leaves: some(0.5), removals: some(0.3), claims: some(4), retained: some(3) },
    };
  }

  /** Tells the whole history, and ends with a quiet cluster of all nodes. */
  async tell(): Promise<void> {
    await this.begin();
    const steps = 30 + this.dice.integer(40);
    for (let i = 0; i < steps; i++) {
      await this.step();
      await this.world.run(this.dice.chance(0.3) ? 0 : this.dice.between(0, 400));
    }
    await this.calmDown();
  }

  leaves(node: ClusterNode): number {
    return this.leavesOf.get(node) ?? 0;
  }

  private async begin(): Promise<void> {
    const count = 3 + this.dice.integer(4);
    for (let i = 0; i < count; i++) this.nodes.push(this.newNode(i));
    const [first, ...others] = this.nodes;
    await first?.start();
    for (const node of others) {
      await node.start();
      await node.join(this.dice.pick(this.nodes.slice(0, this.nodes.indexOf(node))));
    }
    await allUp(this.world, this.nodes);
  }

  private newNode(index: number): ClusterNode {
    const onDown = (process: Process, peer: string): void => {
      this.downs.push({ process, peer, atMs: this.world.nowMs });
    };
    const options: ClusterNodeOptions = {
      wallOffsetMs: this.dice.between(-5_000, 5_000),
      // Small, so that streams pause now and then.
      settings: { outputBytes: this.dice.chance(0.3) ? 2_000 : 8 * 1024 * 1024 },
      onDown,
    };
    return new ClusterNode(this.world, nodeName(index), options);
  }

  private async step(): Promise<void> {
    const { mix } = this;
    const actions: [number, () => void | Promise<void>][] = [
      [6, () => this.publish()],
      [3, () => this.subscribe()],
      [1, () => this.unsubscribe()],
      [1, () => this.slowDown()],
      [mix.retained, () => this.publishRetained()],
      [mix.claims, () => this.connect()],
      [mix.claims / 3, () => this.disconnect()],
      [mix.breaks, () => this.breakPipes()],
      [mix.crashes, () => this.crashOrStart()],
      [mix.partitions, () => this.partitionOrHeal()],
      [mix.stalls, () => this.stall()],
      [mix.leaves, () => this.leaveOrJoin()],
      [mix.removals, () => this.remove()],
    ];
    let at = this.dice.between(
      0,
      actions.reduce((sum, [weight]) => sum + weight, 0),
    );
    for (const [weight, act] of actions) {
      at -= weight;
      if (at > 0) continue;
      await act();
      return;
    }
  }

  private running(): ClusterNode[] {
    return this.nodes.filter((node) => node.isRunning);
  }

  private aNode(): ClusterNode {
    return this.dice.pick(this.running());
  }

  private publish(retain = false): void {
    const node = this.aNode();
    const burst = this.dice.chance(0.2) ? 20 : 1 + this.dice.integer(3);
    for (let i = 0; i < burst; i++) this.publishOne(node, retain);
  }

  private publishRetained(): void {
    this.publish(true);
  }

  private publishOne(node: ClusterNode, retain: boolean): void {
    const { process } = node;
    const topic = this.dice.pick(topics);
    const qos = this.dice.pick([0, 1, 1, 1, 2] as const);
    const empty = retain && this.dice.chance(0.3);
    const payload = empty ? "" : `${++this.counter}`;
    const promised = qos === 0 || empty ? [] : this.promisedTo(node, topic);
    const publisher = `${node.name} ${process.cluster.members.incarnation}`;
    const message = node.publish(topic, payload, qos, retain, publisher, () => {
      sent.timesAccepted++;
      sent.acceptedMs = this.world.nowMs;
    });
    const atMs = this.world.nowMs;
    const sent: Sent = {
      ...{ node, process, message, payload, atMs, promised, leaves: this.leaves(node) },
      ...{ acceptedMs: message.pending === 0 ? atMs : Number.POSITIVE_INFINITY, timesAccepted: 0 },
    };
    this.sent.push(sent);
  }

  /** Whoever a publish at this node must reach, unless nodes lose sight of each other. */
  private promisedTo(node: ClusterNode, topic: string): Subscribed[] {
    return this.subscribed.filter(
      (one) =>
        one.qos > 0 &&
        one.endedMs === Number.POSITIVE_INFINITY &&
        matches(one.filter, topic) &&
        (one.process === node.process || this.covers(one, node)),
    );
  }

  private covers(one: Subscribed, node: ClusterNode): boolean {
    const { process } = node;
    if (!one.node.isRunning || one.node.process !== one.process) return false;
    if (node.state(one.node) === "down") return false;
    const promised = one.covered.has(process);
    if (promised && !this.downSince(process, one.node.name, one.askedMs)) return true;
    return holdsRow(node, one);
  }

  /** Has a process seen that peer go down since then? */
  downSince(process: Process, peer: string, sinceMs: number, untilMs = Number.POSITIVE_INFINITY) {
    return this.downs.some(
      (down) =>
        down.process === process &&
        down.peer === peer &&
        down.atMs >= sinceMs &&
        down.atMs <= untilMs,
    );
  }

  private subscribe(): void {
    const node = this.aNode();
    const { process } = node;
    const filter = this.dice.pick(filters);
    const qos = this.dice.pick([0, 1, 1, 2] as const);
    const durable = this.dice.chance(0.3);
    const clientId = `s${this.dice.integer(3)}`;
    this.end(node.subscriber(clientId), filter);
    const one: Subscribed = {
      ...{ node, process, subscriber: node.subscriber(clientId), filter, qos, durable },
      ...{ askedMs: this.world.nowMs, leaves: this.leaves(node), syncedMs: null },
      ...{ covered: new Set(), endedMs: Number.POSITIVE_INFINITY },
    };
    this.subscribed.push(one);
    node.subscribeSoon(clientId, filter, qos, durable, () => this.onSuback(one));
  }

  private onSuback(one: Subscribed): void {
    one.syncedMs = this.world.nowMs;
    // One that was late promises nothing.
    if (one.syncedMs - one.askedMs > 999) return;
    for (const other of this.running()) {
      const state = one.process.cluster.state(other.name);
      const mutual = other.state(one.node) !== "down";
      if (other !== one.node && state !== "down" && state !== "joining" && mutual) {
        one.covered.add(other.process);
      }
    }
  }

  private unsubscribe(): void {
    const node = this.aNode();
    const mine = this.subscribed.filter((one) => one.process === node.process);
    if (mine.length === 0) return;
    const { subscriber, filter } = this.dice.pick(mine);
    node.router.unsubscribe(subscriber, filter);
    this.end(subscriber, filter);
  }

  private end(subscriber: FakeSubscriber, filter: string): void {
    for (const one of this.subscribed) {
      const same = one.subscriber === subscriber && one.filter === filter;
      if (same) one.endedMs = Math.min(one.endedMs, this.world.nowMs);
    }
  }

  /** A subscriber accepts late from now on, or no longer; what waited is accepted some time. */
  private slowDown(): void {
    const { life, subscribers } = this.aNode().process;
    for (const subscriber of subscribers.values()) {
      subscriber.accepting = this.dice.chance(0.5);
      const later = (): void => {
        subscriber.acceptAt(life.random.integer(Math.max(1, subscriber.unaccepted)));
        if (subscriber.unaccepted > 0) life.clock.setTimer(life.random.between(0, 300), later);
      };
      life.clock.setTimer(life.random.between(0, 3000), later);
    }
  }

  private connect(): void {
    const clientId = this.dice.pick(clientIds);
    const persistent = this.dice.chance(0.5);
    this.aNode().connections.connect(clientId, { persistent });
    // Two nodes at the same instant.
    if (this.dice.chance(0.4)) this.aNode().connections.connect(clientId, { persistent });
  }

  private disconnect(): void {
    const { connections } = this.aNode();
    const open = connections.all.filter(({ state }) => state !== "refused" && state !== "closed");
    if (open.length === 0) return;
    const connection = this.dice.pick(open);
    connections.close(connection);
    if (this.dice.chance(0.3)) connections.expire(connection.clientId);
  }

  private breakPipes(): void {
    const [a, b] = this.dice.shuffle(this.nodes);
    if (a !== undefined && b !== undefined) this.world.breakPipes(a.place, b.place);
  }

  private async crashOrStart(): Promise<void> {
    const stopped = this.nodes.filter((node) => !node.isRunning);
    if (stopped.length > 0 && this.dice.chance(0.6)) {
      await this.dice.pick(stopped).start();
      return;
    }
    if (this.running().length < 2) return;
    const node = this.aNode();
    if (this.dice.chance(0.2)) node.stop();
    else node.crash();
  }

  private partitionOrHeal(): void {
    if (this.dice.chance(0.4)) {
      this.world.heal();
      return;
    }
    const shuffled = this.dice.shuffle(this.nodes).map((node) => node.place);
    const at = 1 + this.dice.integer(shuffled.length - 1);
    const [one, two] = shuffled;
    if (one !== undefined && two !== undefined && this.dice.chance(0.3))
      this.world.cutLink(one, two);
    else this.world.partition(shuffled.slice(0, at), shuffled.slice(at));
  }

  private stall(): void {
    this.aNode().place.stall(this.dice.between(50, this.dice.chance(0.5) ? 2_000 : 8_000));
  }

  private async leaveOrJoin(): Promise<void> {
    const away = [...this.outside].filter((node) => node.isRunning);
    if (away.length > 0 && this.dice.chance(0.6)) {
      await this.rejoin(this.dice.pick(away));
      return;
    }
    const node = this.aNode();
    // Somebody must be left to come back to.
    if (this.outside.size >= this.nodes.length - 2 || this.outside.has(node)) return;
    this.setOutside(node);
    await node.leave().catch(refused);
  }

  /** A node is removed by another one, dead or alive, whether or not either can hear it. */
  private async remove(): Promise<void> {
    const inside = this.nodes.filter((node) => !this.outside.has(node));
    const [remover] = this.dice.shuffle(inside.filter((node) => node.isRunning));
    const target = this.dice.pick(this.nodes);
    if (remover === undefined || target === remover || this.outside.has(target)) return;
    if (this.outside.size >= this.nodes.length - 2) return;
    if (remover.cluster.members.get(target.name)?.status !== "in") return;
    this.setOutside(target);
    this.removed.add(target);
    await remover.remove(target);
  }

  private setOutside(node: ClusterNode): void {
    this.leavesOf.set(node, this.leaves(node) + 1);
    this.outside.add(node);
  }

  private async rejoin(node: ClusterNode): Promise<void> {
    const inside = this.running().filter((other) => !this.outside.has(other));
    if (inside.length === 0) return;
    const other = this.dice.pick(inside);
    this.leavesOf.set(node, this.leaves(node) + 1);
    if (this.removed.has(node)) {
      const { joiner } = node.process;
      await this.world.settled(joiner.discardIdentity(), 30_000, "a new identity");
    }
    try {
      await node.join(other);
      this.outside.delete(node);
      this.removed.delete(node);
    } catch (error) {
      await this.onRejoinRefused(node, other, error);
    }
  }

  private async onRejoinRefused(node: ClusterNode, by: ClusterNode, error: unknown): Promise<void> {
    const sentence = refused(error);
    const { members } = by.cluster;
    const isIn = members.get(node.name)?.status === "in";
    if (!this.removed.has(node)) {
      if (node.cluster.members.others().length > 0) this.outside.delete(node);
    } else if (sentence.includes("is already taken") && isIn && by.isRunning) {
      // Whoever removed it was itself removed before anybody heard of it.
      await by.remove(node);
    }
  }

  /** Everything is well again, all nodes run and are members, and time goes by. */
  private async calmDown(): Promise<void> {
    const { world } = this;
    world.heal();
    for (const node of this.nodes) if (!node.isRunning) await node.start();
    await world.run(9_000);
    for (let tries = 0; this.outside.size > 0 && tries < 20; tries++) {
      for (const node of [...this.outside]) await this.rejoin(node);
      await world.run(1_000);
    }
    await allUp(world, this.nodes, 30_000);
    for (const node of this.nodes) {
      for (const subscriber of node.process.subscribers.values()) {
        subscriber.accepting = true;
        subscriber.acceptAll();
      }
    }
    await world.run(3_000);
    this.linksBefore = this.linksMade();
    await world.run(13_000);
  }

  /** Links that came up since the cluster was quiet. */
  get linksSince(): number {
    return this.linksMade() - this.linksBefore;
  }

  /** In the quiet cluster, every client id is claimed at some nodes in the same instant. */
  async claimAll(): Promise<void> {
    for (const clientId of clientIds) {
      for (const node of this.dice.shuffle(this.nodes).slice(0, 1 + this.dice.integer(3))) {
        this.world.timeline.schedule(this.dice.integer(3), node.process.life, () => {
          node.connections.connect(clientId, { persistent: this.dice.chance(0.3) });
        });
      }
    }
    await this.world.run(2_000);
  }

  private linksMade(): number {
    return this.nodes.reduce((sum, node) => sum + node.cluster.counters.linksMade, 0);
  }
}

/** An operator's command may be refused while the world is upset. */
function refused(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  if (!(cause instanceof Error) || cause.name !== "Refusal") throw error;
  return cause.message;
}

/** Does the node know of the subscription, whether or not SUBACK promised it? */
function holdsRow(node: ClusterNode, one: Subscribed): boolean {
  const index = node.cluster.peer(one.node.name)?.index;
  const value = 8 + (one.durable ? 4 : 0) + one.qos;
  if (index === undefined) return false;
  for (const [filter, row] of node.router.index.peerRows(index)) {
    if (filter === one.filter && row >= value) return true;
  }
  return false;
}

/** A naive matcher for the topics of these histories. */
function matches(filter: string, topic: string): boolean {
  const pattern = filter
    .split("/")
    .map((level) => (level === "+" ? "[^/]*" : level))
    .join("/")
    .replace(/\/#$/, "(/.*)?")
    .replace(/^#$/, ".*");
  return new RegExp(`^${pattern}$`).test(topic);
}
