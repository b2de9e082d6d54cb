/**
 * The move of one session while clients at all nodes publish to it, and what goes wrong at one step of it: its old owner,
 * its new one or a third node dies, or two of them do not hear each other for a while. When all is well again the session
 * has one owner, and its client gets there what was acknowledged.
 */
import { SharedMemory } from "../../../src/store/shared-memory.js";
import { nodeName } from "../cluster-node.js";
import type { Dice } from "../world/dice.js";
import { World } from "../world/world.js";
import { SimClient } from "./client.js";
import { Ledger } from "./ledger.js";
import { SessionNode } from "./node.js";
import { leaseTimes } from "./shared.js";

/** What happens at a step; nodes by their place: 0 the old owner, 1 the new one, 2 another. */
export type Mishap =
  | { readonly kind: "none" }
  | { readonly kind: "crash"; readonly node: 0 | 1 | 2 }
  | { readonly kind: "cut"; readonly between: readonly [number, number] }
  /** The third node, which was away, comes back. */
  | { readonly kind: "back" };

/** The third node during the move: up, dead from before it, or cut off from the others while clients publish there. */
export type Third = "up" | "dead" | "cut";

/** Where the client of the session is while that moves: away, or connected to the node at that place. */
export type Whereabouts = "away" | 0 | 1 | 2;

/** Questions and answers of a move that goes well; the mishap comes with one of them, or soon after. */
export const moveSteps = 12;

const movingId = "moving";

export class MoveStory {
  readonly world: World;
  readonly nodes: SessionNode[] = [];
  readonly clients: SimClient[] = [];
  readonly ledger = new Ledger();
  /** Steps that were taken. */
  steps = 0;
  isMoved = false;
  /** When the client of the session had left, or had come to where it is during the move. */
  awayMs = 0;
  /** How often the client had connected when the move began, if it was connected then. */
  connections = 0;
  private readonly dice: Dice;
  private readonly publishers: SimClient[] = [];
  private mover: SimClient | null = null;
  /** Where the session was before all nodes were killed. */
  private lastOwner: SessionNode | null = null;
  private flows = true;
  private isStruck = false;
  private isMended = false;
  /** Who was asked to move it has not said yet what came of that, and lives. */
  private isPushing: () => boolean = () => false;

  constructor(
    readonly seed: number,
    private readonly step: number,
    private readonly mishap: Mishap,
    private readonly whereabouts: Whereabouts = "away",
    private readonly third: Third = "up",
    /** The nodes share a store, and adopt the sessions of those that die; some of what is published is for a group. */
    private readonly adopts = false,
  ) {
    const how = adopts ? ", shared store" : "";
    const what = `client ${whereabouts}, third node ${third}${how}, ${JSON.stringify(mishap)}`;
    this.world = new World(seed, `move of seed ${seed}, step ${step}, ${what}`);
    this.dice = this.world.dice.fork(9);
  }

  async tell(): Promise<void> {
    const mover = await this.begin();
    const { world, dice } = this;
    for (const client of this.publishers) this.publishOn(client);
    await world.run(dice.between(20, 80));
    mover.staysOnline = false;
    if (this.whereabouts === "away") await this.leave(mover);
    else await this.stay(mover, this.whereabouts);
    await world.run(dice.between(0, 50));
    if (this.third !== "up") await this.loseThird();
    this.watchSteps();
    this.push();
    await world.run(dice.between(200, 500));
    this.isStruck = true;
    this.throwFaults();
    await this.mend();
    await this.findOwner(mover);
    this.flows = false;
    await this.calmDown();
    this.throwFaults();
    await this.world.until(() => !this.isUnfinished(), 10_000, "the move has left nothing to do");
  }

  private isUnfinished(): boolean {
    return this.nodes.some(({ process }) => {
      const { stubs, leftovers } = process?.sessions.moves ?? {};
      return (stubs?.size ?? 0) + (leftovers?.size ?? 0) > 0;
    });
  }

  /** All nodes are killed in the quiet, and everybody comes back. */
  async restartAll(): Promise<void> {
    this.lastOwner = this.owner() ?? this.lastOwner;
    for (const node of this.nodes) if (node.process !== null) node.crash();
    await this.calmDown();
    this.throwFaults();
  }

  /** What it has for the session and the others have not taken waits there. */
  private async loseThird(): Promise<void> {
    const { world, nodes } = this;
    const [one, other, third] = nodes;
    if (this.third === "dead") third?.crash();
    else {
      for (const node of [one, other]) {
        if (node !== undefined && third !== undefined) world.cutLink(node.place, third.place);
      }
    }
    const isDown = (node: SessionNode | undefined): boolean =>
      node?.process?.cluster.barriers.isAway(third?.name ?? "") === true;
    await world.until(() => isDown(one) && isDown(other), 30_000, "the third node is down");
  }

  private async leave(mover: SimClient): Promise<void> {
    mover.disconnect(false);
    const isAway = (): boolean => this.nodes[0]?.process?.sessions.get(movingId)?.channel === null;
    await this.world.until(isAway, 5_000, "its client is away");
    this.awayMs = this.world.nowMs;
  }

  /** The session stays at the first node, its client is at another, and publishes. */
  private async stay(mover: SimClient, at: 0 | 1 | 2): Promise<void> {
    const { world, dice } = this;
    this.publishers[1]?.subscribe("u/#", 2);
    mover.sessionNode = () => this.owner() ?? this.nodes[0] ?? mover.node;
    if (at !== 0) {
      mover.disconnect(false);
      mover.node = this.nodes[at] as SessionNode; // there are three
      mover.connect();
    }
    const isThere = (): boolean => mover.state === "online" && this.owner() === this.nodes[0];
    await world.until(isThere, 5_000, "its client is connected");
    this.awayMs = world.nowMs;
    this.publishOn(mover, ["u/a"]);
    await world.run(dice.between(20, 80));
    this.connections = mover.connections;
  }

  /** Where the youngest session of that client is. */
  private ownerOf(clientId: string): SessionNode | undefined {
    let [owner, newest] = [undefined as SessionNode | undefined, -1];
    for (const node of this.nodes) {
      const epoch = node.process?.sessions.get(clientId)?.epoch ?? -1;
      if (!node.isAdopted && epoch > newest) [owner, newest] = [node, epoch];
    }
    return owner;
  }

  private owner(): SessionNode | undefined {
    return this.nodes.find(({ process }) => process?.sessions.get(movingId)?.isElsewhere === false);
  }

  private async begin(): Promise<SimClient> {
    const { world, dice } = this;
    const atomic = dice.chance(0.5) && !this.adopts;
    const settings = { session: { placement: "stay" } } as const;
    const clock = { monotonicMs: () => world.nowMs };
    const shared = this.adopts ? new SharedMemory(clock, leaseTimes.leaseMs) : null;
    for (let i = 0; i < 3; i++) {
      const node = new SessionNode(world, nodeName(i), settings, shared);
      node.store.atomic = atomic;
      node.store.readMsMax = dice.pick([0, 2]);
      node.store.writeMsMax = dice.pick([1, 5, 20]);
      this.nodes.push(node);
    }
    await this.startAll();
    const [first, ...others] = this.nodes;
    for (const node of others) if (first !== undefined) await node.join(first);
    await this.allUp();
    const mover = this.client(movingId, 0);
    this.mover = mover;
    this.nodes.forEach((_, index) => {
      this.publishers.push(this.client(`p${index}`, index));
    });
    for (const client of this.clients) client.connect();
    await world.until(() => this.clients.every(({ state }) => state === "online"), 5_000, "online");
    mover.subscribe("t/#", 2);
    const members = this.adopts ? [mover, dice.pick(this.publishers)] : [];
    for (const member of members) member.subscribe("$share/g/s/#", 2);
    await world.until(() => this.clients.every((one) => one.isSettled), 5_000, "SUBACK");
    mover.ackMsMax = dice.pick([5, 400]);
    return mover;
  }

  private client(clientId: string, at: number): SimClient {
    const node = this.nodes[at] as SessionNode; // there are three
    const life = this.world.node(`${clientId}@clients-${clientId}`).boot();
    const client = new SimClient(
      life,
      node,
      { clientId, version: 5, persistent: true, receiveMaximum: 100, window: 4 },
      this.ledger,
    );
    client.onGranted = ({ knownMs, grantedMs }) => {
      for (const { name } of this.nodes) knownMs.set(name, grantedMs);
    };
    if (this.adopts) client.sessionNode = () => this.ownerOf(clientId) ?? node;
    this.clients.push(client);
    return client;
  }

  private get topics(): readonly string[] {
    return this.adopts ? ["t/a", "t/b", "s/a"] : ["t/a", "t/b"];
  }

  private publishOn(client: SimClient, topics = this.topics): void {
    if (!this.flows) return;
    const { dice } = this;
    if (client.state === "online") client.publish(dice.pick(topics), dice.pick([1, 1, 2]));
    // Later it matters that there are some, not how many.
    const pauseMs = this.isStruck ? dice.between(50, 400) : dice.between(1, 12);
    client.life.clock.setTimer(pauseMs, () => this.publishOn(client, topics));
  }

  /** Counts what the nodes say to each other of the move. */
  private watchSteps(): void {
    for (const { process } of this.nodes) {
      if (process === null) continue;
      const { cluster } = process;
      const ask = cluster.ask.bind(cluster);
      cluster.ask = async (node, service, body) => {
        if (service !== "move") return ask(node, service, body);
        const asked = ask(node, service, body);
        this.onStep();
        const answer = await asked;
        this.onStep();
        return answer;
      };
    }
  }

  private onStep(): void {
    if (this.steps++ !== this.step) return;
    const { world, dice } = this;
    const delayMs = dice.chance(0.5) ? 0 : dice.between(0, 15);
    // Not in the midst of somebody's turn.
    world
      .node(`fate-${this.steps}@fate`)
      .boot()
      .clock.setTimer(delayMs, () => this.strike());
  }

  private strike(): void {
    const { mishap, nodes, world } = this;
    // One that comes so late would never be mended.
    if (this.isMended) return;
    if (mishap.kind === "crash") nodes[mishap.node]?.crash();
    else if (mishap.kind === "back") {
      world.heal();
      if (nodes[2]?.process === null) void nodes[2].boot();
    } else if (mishap.kind === "cut") {
      const [one, other] = mishap.between.map((index) => nodes[index]?.place);
      if (one !== undefined && other !== undefined) world.cutLink(one, other);
    }
  }

  private push(): void {
    const [from, to] = this.nodes;
    const process = from?.process;
    let isAsked = true;
    this.isPushing = () => isAsked && from?.process === process;
    process?.sessions.moves?.push(movingId, to?.name ?? "").then(
      () => {
        isAsked = false;
        this.isMoved = true;
      },
      (error: unknown) => {
        isAsked = false;
        this.world.trace.note(`not moved: ${String(error)}`);
      },
    );
  }

  /** What is broken comes right, some time. */
  private async mend(): Promise<void> {
    const { world, dice } = this;
    await world.run(dice.pick([0, 300, 6_000]));
    this.isMended = true;
    world.heal();
    await this.startAll();
    await this.allUp();
  }

  private async startAll(): Promise<void> {
    for (const node of this.nodes) if (node.process === null) void node.boot();
    const listening = (): boolean => this.nodes.every(({ isListening }) => isListening);
    await this.world.until(listening, 30_000, "all nodes listen");
  }

  private async allUp(): Promise<void> {
    const up = (): boolean => this.nodes.every((node) => node.namesUp().length === 3);
    await this.world.until(up, 30_000, "all nodes are up");
  }

  /** No move is under way any more, and one node has the session. */
  private async findOwner(mover: SimClient): Promise<void> {
    const { world, nodes } = this;
    const isOpen = ({ process }: SessionNode): boolean => {
      const { in: coming = 0, out = 0 } = process?.sessions.moves?.underWay ?? {};
      return coming + out > 0 || (process?.sessions.moves?.has(movingId) ?? true);
    };
    const owners = (): SessionNode[] =>
      nodes.filter(({ process }) => process?.sessions.get(movingId) !== undefined);
    const seen = (): string =>
      `owners ${owners().map(({ name }) => name)}, open at ${nodes.filter(isOpen).map(({ name }) => name)}`;
    await world.until(
      () => !this.isPushing() && !nodes.some(isOpen) && owners().length === 1,
      30_000,
      () => `the session has one owner: ${seen()}`,
    );
    const owner = owners()[0] as SessionNode; // there is one
    if (this.whereabouts === "away") mover.node = owner;
    // When all nodes start at once another one would give it a new session. It may move once more until then: what was asked of
    // its new owner may have been held up.
    this.lastOwner = owner;
    mover.chooseNode = () => this.lastOwner;
    world.trace.note(`the session is at ${owner.name}`);
  }

  private throwFaults(): void {
    for (const { faults } of this.clients) {
      for (const fault of faults) this.world.check(false, () => fault);
    }
  }

  private async calmDown(): Promise<void> {
    const { world, clients } = this;
    await this.startAll();
    if (this.mover !== null) this.mover.ackMsMax = 5;
    for (const client of clients) {
      client.staysOnline = true;
      if (client.state === "offline") client.connect();
    }
    const isQuiet = (): boolean =>
      clients.every((one) => one.isSettled && one.lastActiveMs < world.nowMs - 1_000);
    await world.until(isQuiet, 60_000, () =>
      clients
        .filter((one) => !one.isSettled)
        .map((one) => one.waiting)
        .join("\n"),
    );
  }
}
