/**
 * Two clusters that have served clients for a while join into one: some client ids have sessions on both sides, connected or not,
 * topics have retained messages on both, and messages flow all the time. At times a link breaks or a node dies in the midst of
 * it. It ends in quiet; checks.ts says what must be then.
 */
import type { Qos } from "../../../src/protocol/publish.js";
import { nodeName } from "../cluster-node.js";
import { Actor } from "../scenes/stage.js";
import { SessionNode } from "../sessions/node.js";
import type { Dice } from "../world/dice.js";
import { World } from "../world/world.js";

/** A message that a publisher was told is accepted. */
export interface Accepted {
  readonly payload: string;
  readonly side: number;
  readonly qos: Qos;
  /** Before anybody of the other side could hear of it. */
  readonly isBefore: boolean;
}

/** A client id with a session on each side; its client there. */
export interface Double {
  readonly clientId: string;
  readonly halves: readonly [Half, Half];
}

export interface Half {
  readonly actor: Actor;
  readonly node: SessionNode;
  /** When its client connected: the later one is the younger. */
  connectedMs: number;
  isConnected: boolean;
}

/** A client that the other side does not know, and how often it had connected when the clusters joined. */
export interface Single {
  readonly actor: Actor;
  readonly node: SessionNode;
  connections: number;
}

interface Publisher extends Single {
  readonly side: number;
  sent: { readonly payload: string; readonly qos: Qos; readonly isBefore: boolean }[];
}

const topicOf = (i: number): string => `kept/${i}`;
const retainedTopics = 4;

export class JoinStory {
  readonly world: World;
  readonly sides: [SessionNode[], SessionNode[]] = [[], []];
  readonly doubles: Double[] = [];
  readonly singles: Single[] = [];
  readonly accepted: Accepted[] = [];
  /** Nodes that died while the clusters joined. */
  readonly died = new Set<SessionNode>();
  /** What was last retained of each topic, by anybody. */
  readonly retained = new Map<string, string>();
  private readonly publishers: Publisher[] = [];
  private readonly dice: Dice;
  private isJoining = false;
  private counter = 0;

  constructor(readonly seed: number) {
    this.world = new World(seed, `npx tsx test/sim/soak.ts ${seed} ${seed} joins`);
    this.dice = this.world.dice.fork(13);
  }

  get nodes(): SessionNode[] {
    return this.sides.flat();
  }

  async tell(): Promise<void> {
    await this.populate();
    for (let i = 0; i < 12; i++) await this.goOn();
    await this.retain();
    for (const one of this.singles) one.connections = one.actor.connections;
    this.isJoining = true;
    await this.join();
    for (let i = 0; i < 8; i++) await this.goOn();
    await this.calmDown();
  }

  /** All nodes die in the quiet, and start again. */
  async restartAll(): Promise<void> {
    for (const node of this.nodes) node.crash();
    await this.startAll(this.nodes);
    await this.allUp(this.nodes);
    await this.world.run(1_000);
  }

  private async populate(): Promise<void> {
    const { dice, world } = this;
    const settings = { session: { placement: dice.pick(["follow", "stay"] as const) } };
    let index = 0;
    for (const side of this.sides) {
      for (let count = 1 + dice.integer(2); count > 0; count--) {
        const node = new SessionNode(world, nodeName(index++), settings);
        node.store.writeMsMax = dice.pick([1, 5, 20]);
        side.push(node);
      }
      await this.startAll(side);
      const [first, other] = side;
      if (first !== undefined && other !== undefined) await other.join(first);
      await this.allUp(side);
    }
    await this.connectAll();
  }

  private async connectAll(): Promise<void> {
    const { dice, world } = this;
    for (const [side, nodes] of this.sides.entries()) {
      for (const node of nodes) {
        const actor = this.actor(`single-${node.host}`, node);
        await actor.connect();
        await actor.subscribe("t/#", 1);
        this.singles.push({ actor, node, connections: 0 });
        const publisher = this.actor(`publisher-${node.host}`, node);
        await publisher.connect();
        this.publishers.push({ actor: publisher, node, side, connections: 0, sent: [] });
      }
    }
    this.singles.push(...this.publishers);
    for (let i = 0; i < 3; i++) {
      const clientId = `double${i}`;
      const halves = this.sides.map((nodes) => {
        const node = dice.pick(nodes);
        return { actor: this.actor(clientId, node), node, connectedMs: 0, isConnected: true };
      }) as [Half, Half]; // there are two sides
      for (const half of dice.shuffle(halves)) {
        await half.actor.connect();
        half.connectedMs = world.nowMs;
        await half.actor.subscribe("t/#", 2);
        await world.run(dice.between(5, 50));
      }
      for (const half of halves) {
        if (dice.chance(0.5)) continue;
        await half.actor.leave();
        half.isConnected = false;
      }
      this.doubles.push({ clientId, halves });
    }
  }

  /** A client: on its own machine, with a place in no cluster. */
  private actor(clientId: string, node: SessionNode): Actor {
    const { world } = this;
    const life = world.node(`${clientId}@clients${world.nodes.length}`).boot();
    return new Actor(world, life, clientId, node, 5);
  }

  /** Somebody publishes something, and some time goes by. */
  private async goOn(): Promise<void> {
    const { dice, world } = this;
    const publisher = dice.pick(this.publishers);
    const { actor, sent } = publisher;
    for (let count = 1 + dice.integer(4); count > 0 && actor.state === "online"; count--) {
      const qos = dice.pick([1, 2] as const);
      const payload = `${++this.counter}`;
      sent.push({ payload, qos, isBefore: !this.isJoining });
      actor.publish("t/x", payload, qos, sent.length);
    }
    await world.run(dice.between(0, 100));
  }

  /** Both sides write the same topics, in some order; the latest of each is the one that stays. */
  private async retain(): Promise<void> {
    const { dice, world } = this;
    for (let i = 0; i < retainedTopics * 2; i++) {
      const publisher = dice.pick(this.publishers);
      const topic = topicOf(dice.integer(retainedTopics));
      const payload = dice.chance(0.25) ? "" : `${i} of side ${publisher.side}`;
      publisher.sent.push({ payload: "retained", qos: 1, isBefore: true });
      publisher.actor.publish(topic, payload, 1, publisher.sent.length, true);
      this.retained.set(topic, payload);
      await world.run(150);
    }
  }

  private async join(): Promise<void> {
    const { dice, world } = this;
    const [one, other] = this.sides.map((side) => dice.pick(side));
    if (one === undefined || other === undefined) return;
    void one.join(other).catch(() => undefined);
    const mishap = dice.integer(4);
    if (mishap < 2) {
      await this.runBusily(dice.between(0, 120));
      if (mishap === 0) {
        for (const near of this.sides[0]) {
          for (const far of this.sides[1]) world.breakPipes(near.place, far.place);
        }
      } else {
        const node = dice.pick(this.nodes);
        this.died.add(node);
        node.crash();
        await this.runBusily(dice.between(0, 3_000));
        await this.startAll(this.nodes);
      }
    }
    await world.run(500);
    const isIn = (): boolean => one.process?.cluster.members.get(other.name)?.status === "in";
    if (!isIn()) await one.join(other);
    await this.allUp(this.nodes);
  }

  private async runBusily(ms: number): Promise<void> {
    const untilMs = this.world.nowMs + ms;
    while (this.world.nowMs < untilMs) await this.goOn();
  }

  private async startAll(nodes: readonly SessionNode[]): Promise<void> {
    for (const node of nodes) if (node.process === null) void node.boot();
    const listening = (): boolean => nodes.every(({ isListening }) => isListening);
    await this.world.until(listening, 30_000, "all nodes listen");
  }

  private async allUp(nodes: readonly SessionNode[]): Promise<void> {
    const up = (): boolean => nodes.every((node) => node.namesUp().length === nodes.length);
    await this.world.until(up, 30_000, "all nodes are up");
  }

  /** Publishers are answered, each client id has one session, and its client takes all that waits there. */
  private async calmDown(): Promise<void> {
    const { world } = this;
    await world.run(7_000);
    for (const { actor, side, sent } of this.publishers) {
      const answered = new Set<number | undefined>();
      for (const { cmd, messageId } of actor.got) {
        if (cmd === "puback" || cmd === "pubrec") answered.add(messageId);
      }
      for (const [i, { payload, qos, isBefore }] of sent.entries()) {
        if (!answered.has(i + 1) || payload === "retained") continue;
        this.accepted.push({ payload, side, qos, isBefore });
      }
    }
    for (const { halves } of this.doubles) {
      if (halves.some(({ actor }) => actor.state === "online")) continue;
      const { actor } = this.dice.pick(halves);
      await actor.connect({}, this.dice.pick(this.nodes));
    }
    await world.run(2_000);
  }
}
