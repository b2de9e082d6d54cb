/**
 * A world: nodes, the network between them and time, all in one process and all decided by one seed.
 * The same seed and the same calls give the same history, event by event.
 */
import { parseNodeName } from "../../../src/cluster/names.js";
import { Dice } from "./dice.js";
import { Network } from "./network.js";
import { WorldNode } from "./node.js";
import { Timeline } from "./timeline.js";
import { Trace } from "./trace.js";

export interface NodeOptions {
  /** How far the node's wall clock is off. */
  readonly wallOffsetMs?: number;
}

export class World {
  /** For the choices of a test. */
  readonly dice: Dice;
  readonly nodes: WorldNode[] = [];
  readonly trace: Trace;
  readonly timeline = new Timeline();
  private readonly network: Network;

  /** `replay`: what a failure tells the reader to type, for this seed. */
  constructor(
    readonly seed: number,
    private readonly replay = "",
  ) {
    this.dice = new Dice(seed);
    this.network = new Network(this.timeline, this.dice.fork(1));
    this.trace = new Trace(() => this.timeline.nowMs);
  }

  /** Virtual milliseconds since the world began. */
  get nowMs(): number {
    return this.timeline.nowMs;
  }

  /** How likely what arrives is cut into pieces. */
  set chunking(probability: number) {
    this.network.chunking = probability;
  }

  /** A new node, which does not run yet. Its host is in its name, `name@host`. */
  node(name: string, options: NodeOptions = {}): WorldNode {
    const { timeline, network, trace, dice } = this;
    const surroundings = { timeline, network, trace, dice };
    const own = dice.fork(1000 + this.nodes.length);
    const { host } = parseNodeName(name);
    const node = new WorldNode(name, host, options.wallOffsetMs ?? 0, surroundings, own);
    this.nodes.push(node);
    return node;
  }

  /** Nothing passes between the two groups from now on; everything written is kept for later. */
  partition(groupA: readonly WorldNode[], groupB: readonly WorldNode[]): void {
    this.trace.note(`partition ${names(groupA)} | ${names(groupB)}`);
    for (const a of groupA) for (const b of groupB) this.network.setCut(a.name, b.name, true);
  }

  /** Nothing passes between two nodes from now on. */
  cutLink(a: WorldNode, b: WorldNode): void {
    this.trace.note(`cut ${a.name} | ${b.name}`);
    this.network.setCut(a.name, b.name, true);
  }

  /** Whether anybody has noticed it or not. */
  isCut(a: WorldNode, b: WorldNode): boolean {
    return this.network.isCut(a, b);
  }

  /** … at some moment of that time. */
  wasCut(a: WorldNode, b: WorldNode, fromMs: number, untilMs: number): boolean {
    return this.network.wasCut(a, b, fromMs, untilMs);
  }

  mendLink(a: WorldNode, b: WorldNode): void {
    this.trace.note(`mend ${a.name} | ${b.name}`);
    this.network.setCut(a.name, b.name, false);
  }

  /** Everybody reaches everybody again; what was held arrives. */
  heal(): void {
    this.trace.note("heal");
    this.network.healAll();
  }

  /** Every connection between two nodes is reset; what was on the way is lost. */
  breakPipes(a: WorldNode, b: WorldNode): void {
    this.trace.note(`break ${a.name} | ${b.name}`);
    if (a.life !== null && b.life !== null) this.network.break(a.life, b.life);
  }

  /** Lets `ms` of virtual time go by. */
  async run(ms: number): Promise<void> {
    const untilMs = this.nowMs + ms;
    await this.guard(async () => {
      await this.timeline.endTurn();
      while (await this.timeline.step(untilMs));
      this.timeline.nowMs = Math.max(this.timeline.nowMs, untilMs);
    });
  }

  /**
   * Runs until `condition` holds. After `deadlineMs` of virtual time it throws, saying what `describe`
   * sees, the seed and the last events.
   */
  async until(
    condition: () => boolean,
    deadlineMs: number,
    describe: string | (() => string),
  ): Promise<void> {
    const untilMs = this.nowMs + deadlineMs;
    await this.guard(async () => {
      await this.timeline.endTurn();
      let askedMs = Number.NEGATIVE_INFINITY;
      for (;;) {
        // Asked once a millisecond, not at every event: conditions walk through whole tables.
        const nextMs = this.timeline.nextMs();
        if (nextMs >= askedMs + 1 || nextMs > untilMs) {
          if (condition()) return;
          askedMs = this.nowMs;
        }
        if (await this.timeline.step(untilMs)) continue;
        this.timeline.nowMs = Math.max(this.timeline.nowMs, untilMs);
        const seen = typeof describe === "string" ? describe : describe();
        throw new Error(`not within ${deadlineMs} ms of virtual time: ${seen}`);
      }
    });
  }

  /** Runs until `promise` settles, and gives its value or throws its error. */
  async settled<T>(promise: Promise<T>, deadlineMs: number, describe: string): Promise<T> {
    let over = false;
    const mark = (): void => {
      over = true;
    };
    promise.then(mark, mark);
    await this.until(() => over, deadlineMs, describe);
    return promise;
  }

  /** Throws, with the seed and the last events, when `condition` is false. */
  check(condition: boolean, what: () => string): void {
    if (!condition) throw this.failure(new Error(what()));
  }

  private async guard(body: () => Promise<void>): Promise<void> {
    try {
      await body();
    } catch (error) {
      throw this.failure(error);
    }
  }

  private failure(error: unknown): Error {
    if (error instanceof WorldFailure) return error;
    const what = error instanceof Error ? (error.stack ?? error.message) : String(error);
    const again = this.replay === "" ? "" : `\nagain: ${this.replay}`;
    return new WorldFailure(
      `seed ${this.seed}, at ${this.nowMs.toFixed(1)} ms: ${what}\n` +
        `the last events:\n${this.trace.latest()}\nseed: ${this.seed}${again}`,
      { cause: error },
    );
  }
}

/** What went wrong in a world, with all that is needed to see it again. */
export class WorldFailure extends Error {
  override name = "WorldFailure";
}

function names(group: readonly WorldNode[]): string {
  return group.map((node) => node.name).join(" ");
}
