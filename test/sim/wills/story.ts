/**
 * A random history of clients with wills, from a seed: they leave, are lost, are taken over and come back, at any node, while
 * nodes die and are cut off. It ends with everybody gone, and all nodes well. checks.ts says which wills had to come.
 */
import type { Qos } from "../../../src/protocol/publish.js";
import { SharedMemory } from "../../../src/store/shared-memory.js";
import { nodeName } from "../cluster-node.js";
import { SessionNode } from "../sessions/node.js";
import { leaseTimes } from "../sessions/shared.js";
import type { Dice } from "../world/dice.js";
import type { Life } from "../world/node.js";
import { World } from "../world/world.js";
import { type MortalOptions, Stay } from "./stay.js";
import { Watcher } from "./watcher.js";

/** What may happen in a history, and how often: chosen by the seed, so that each has a character. */
interface Mix {
  readonly crashes: number;
  readonly cuts: number;
  readonly takeovers: number;
}

/** Somebody did not hear somebody else. */
export interface Cut {
  readonly fromMs: number;
  toMs: number;
}

export interface Crash {
  readonly node: SessionNode;
  readonly atMs: number;
}

const downMsMax = 8_000;
/** Longer than any will delay, and than it takes to see that a node is down. */
const quietMs = 9_000;

export class WillStory {
  readonly world: World;
  readonly nodes: SessionNode[] = [];
  readonly watchers: Watcher[] = [];
  /** Of each client its connections, in their order. */
  readonly mortals: Stay[][] = [];
  readonly cuts: Cut[] = [];
  readonly crashes: Crash[] = [];
  private readonly dice: Dice;
  private readonly life: Life;
  private readonly mix: Mix;
  private readonly options: MortalOptions[] = [];

  constructor(
    readonly seed: number,
    /** The nodes share a store, and adopt the sessions of those that die. */
    private readonly adopts = false,
  ) {
    this.world = new World(seed);
    this.dice = this.world.dice.fork(11);
    this.life = this.world.node("clients@clients").boot();
    const some = (most: number): number => (this.dice.chance(0.6) ? this.dice.between(0, most) : 0);
    this.mix = { crashes: some(2), cuts: some(1), takeovers: some(4) };
  }

  async tell(): Promise<void> {
    await this.begin();
    const steps = 20 + this.dice.integer(40);
    for (let i = 0; i < steps; i++) {
      this.step();
      await this.world.run(
        this.dice.chance(0.5) ? this.dice.between(0, 60) : this.dice.between(0, 900),
      );
    }
    await this.calmDown();
  }

  /** Every client goes without a word, or all nodes die at once; and time goes by. */
  async endAll(): Promise<void> {
    const { world, nodes } = this;
    if (this.dice.chance(0.3)) {
      for (const node of nodes) {
        this.crashes.push({ node, atMs: world.nowMs });
        node.crash();
      }
      await world.run(1_000);
      await this.startAll();
      await this.areWell();
    }
    for (const stay of this.open()) stay.lose();
    await world.run(quietMs);
  }

  /** All nodes are killed in the quiet, and start again. */
  async restartAll(): Promise<void> {
    for (const { process } of this.nodes) if (process === null) throw new Error("a node is down");
    for (const node of this.nodes) node.crash();
    await this.startAll();
    await this.world.run(3_000);
  }

  /** Connections that are there, or on their way. */
  open(): Stay[] {
    return this.mortals.flatMap((stays) => stays.filter(({ state }) => state !== "offline"));
  }

  private async begin(): Promise<void> {
    const { dice, world } = this;
    const count = 2 + dice.integer(3);
    const settings = { session: { placement: dice.pick(["follow", "stay"] as const) } };
    const clock = { monotonicMs: () => world.nowMs };
    const shared = this.adopts ? new SharedMemory(clock, leaseTimes.leaseMs) : null;
    for (let i = 0; i < count; i++) {
      const node = new SessionNode(world, nodeName(i), settings, shared);
      node.store.writeMsMax = dice.pick([1, 5, 20]);
      this.nodes.push(node);
    }
    await this.startAll();
    const [first, ...others] = this.nodes;
    for (const node of others) if (first !== undefined) await node.join(first);
    for (const node of this.nodes) this.watch(node);
    const isReady = (): boolean => this.watchers.every(({ isSubscribed }) => isSubscribed);
    await world.until(isReady, 10_000, "all watchers are subscribed");
    const mortals = 3 + dice.integer(3);
    for (let i = 0; i < mortals; i++) {
      const version = dice.pick([4, 5, 5, 5] as const);
      const expirySeconds = version === 4 ? dice.pick([0, 86_400]) : dice.pick([0, 2, 86_400]);
      this.options.push({
        clientId: `c${i}`,
        version,
        qos: dice.pick([0, 1, 1, 2, 2] as Qos[]),
        expirySeconds,
      });
      this.mortals.push([]);
      this.connect(i);
    }
    await world.run(dice.between(0, 100));
  }

  private watch(node: SessionNode): void {
    const watcher = new Watcher(this.life, `watcher-${node.host}`, node);
    this.watchers.push(watcher);
    watcher.dial();
  }

  private step(): void {
    const { mix, dice } = this;
    const actions: [number, () => void][] = [
      [5, () => this.comeOrGo()],
      [mix.takeovers, () => this.takeOver()],
      [mix.crashes, () => this.crashOrStart()],
      [mix.cuts, () => this.cutOrHeal()],
    ];
    let at = dice.between(
      0,
      actions.reduce((sum, [weight]) => sum + weight, 0),
    );
    for (const [weight, act] of actions) {
      at -= weight;
      if (at > 0) continue;
      act();
      return;
    }
  }

  private comeOrGo(): void {
    const { dice } = this;
    const index = dice.integer(this.mortals.length);
    const stay = this.mortals[index]?.at(-1);
    if (stay === undefined || stay.state === "offline") this.connect(index);
    else if (dice.chance(0.5)) stay.lose();
    else stay.leave(dice.chance(0.6) ? "goodbye" : "last words");
  }

  private takeOver(): void {
    this.connect(this.dice.integer(this.mortals.length));
  }

  private connect(index: number): void {
    const { dice, nodes } = this;
    const [stays, options] = [this.mortals[index], this.options[index]];
    const listening = nodes.filter(({ isListening }) => isListening);
    if (stays === undefined || options === undefined || listening.length === 0) return;
    // One that has not been answered gives up: nobody could tell which of the two is the newer.
    const last = stays.at(-1);
    if (last !== undefined && last.state !== "online") last.lose();
    const stay = new Stay(this.life, dice.pick(listening), {
      ...options,
      number: stays.length + 1,
      delaySeconds: options.version === 5 ? dice.pick([0, 0, 1, 3]) : 0,
      messageExpirySeconds: options.version === 5 && dice.chance(0.15) ? 2 : null,
      cleanStart: dice.chance(0.2),
    });
    stays.push(stay);
    stay.dial();
  }

  private crashOrStart(): void {
    const { dice, world } = this;
    // One that never dies saw everything come in its order.
    const node = dice.pick(this.nodes.slice(1));
    if (node.process === null) return;
    this.crashes.push({ node, atMs: world.nowMs });
    node.crash();
    const downMs = dice.chance(0.5) ? dice.between(0, 100) : dice.between(100, downMsMax);
    this.life.clock.setTimer(downMs, () => {
      if (node.process === null) void node.boot();
    });
  }

  private cutOrHeal(): void {
    const { dice, world } = this;
    const last = this.cuts.at(-1);
    if (last !== undefined && last.toMs === Number.POSITIVE_INFINITY) {
      this.heal();
      return;
    }
    const places = dice.shuffle(this.nodes).map(({ place }) => place);
    const at = 1 + dice.integer(places.length - 1);
    this.cuts.push({ fromMs: world.nowMs, toMs: Number.POSITIVE_INFINITY });
    world.partition(places.slice(0, at), places.slice(at));
  }

  private heal(): void {
    const last = this.cuts.at(-1);
    if (last !== undefined) last.toMs = Math.min(last.toMs, this.world.nowMs);
    this.world.heal();
  }

  private async startAll(): Promise<void> {
    for (const node of this.nodes) if (node.process === null) void node.boot();
    const listening = (): boolean => this.nodes.every(({ isListening }) => isListening);
    await this.world.until(listening, 30_000, "all nodes listen");
  }

  private async calmDown(): Promise<void> {
    const isCut = this.cuts.at(-1)?.toMs === Number.POSITIVE_INFINITY;
    // Whoever is connected on the smaller side finds that the larger one has spoken for its node.
    if (isCut && this.dice.chance(0.5)) await this.world.run(6_000);
    this.heal();
    await this.startAll();
    await this.areWell();
    await this.world.run(quietMs);
  }

  private async areWell(): Promise<void> {
    const { world, nodes } = this;
    const areUp = (): boolean => nodes.every((node) => node.namesUp().length === nodes.length);
    await world.until(areUp, 30_000, "all nodes are up");
    const watch = (): boolean => this.watchers.every(({ state }) => state === "online");
    await world.until(watch, 10_000, "all watchers are there");
  }
}
