/** A node of a world: its machine and disk, and the process that lives there now, if any. */
import type { Transport } from "../../../src/cluster/transport.js";
import type { Log } from "../../../src/lib/log.js";
import type { StateFile } from "../../../src/store/state-file.js";
import type { Store } from "../../../src/store/store.js";
import { FakeClock } from "./clock.js";
import type { Dice } from "./dice.js";
import { FakeDisk } from "./disk.js";
import type { Network } from "./network.js";
import type { Owner, Timeline } from "./timeline.js";
import { traceLog } from "./trace.js";
import type { Trace } from "./trace.js";

/** What all nodes of a world share. */
export interface Surroundings {
  readonly timeline: Timeline;
  readonly network: Network;
  readonly trace: Trace;
  readonly dice: Dice;
}

/** One process, from its start to its crash, and everything that it is handed. */
export class Life implements Owner {
  dead = false;
  stalledUntilMs = 0;
  readonly name: string;
  readonly host: string;
  readonly timeline: Timeline;
  readonly trace: Trace;
  readonly clock: FakeClock;
  readonly transport: Transport;
  readonly log: Log;
  readonly random: Dice;

  constructor(
    private readonly node: WorldNode,
    { timeline, network, trace }: Surroundings,
    random: Dice,
  ) {
    this.name = node.name;
    this.host = node.host;
    this.timeline = timeline;
    this.trace = trace;
    this.clock = new FakeClock(timeline, this, () => node.wallOffsetMs);
    this.transport = network.transport(this);
    this.log = traceLog(trace, node.name);
    this.random = random;
  }

  /** The durable store on the node's disk. */
  openStore(): Store {
    return this.node.disk.store.open(this);
  }

  /** A state file on the node's disk. */
  file<T>(name: string): StateFile<T> {
    return this.node.disk.file<T>(name, this);
  }
}

export class WorldNode {
  readonly disk: FakeDisk;
  /** The process that runs, or null. */
  life: Life | null = null;
  private lives = 0;

  constructor(
    readonly name: string,
    readonly host: string,
    /** How far its wall clock is off, in milliseconds; may be changed at any time. */
    public wallOffsetMs: number,
    private readonly surroundings: Surroundings,
    private readonly dice: Dice,
  ) {
    this.disk = new FakeDisk(surroundings.timeline, dice.fork(0));
    surroundings.network.addNode(name, host);
  }

  /** Starts a process; one must not run already. */
  boot(): Life {
    if (this.life !== null) throw new Error(`${this.name} runs already`);
    this.surroundings.trace.note(`${this.name} boots`);
    this.life = new Life(this, this.surroundings, this.dice.fork(++this.lives));
    return this.life;
  }

  /** kill -9: nothing that the process set or awaited comes any more; its connections end. */
  crash(): void {
    if (this.life === null) return;
    this.surroundings.trace.note(`${this.name} crashes`);
    this.life.dead = true;
    this.surroundings.network.crash(this.life);
    this.disk.crash();
    this.life = null;
  }

  /** SIGSTOP for `stallMs`: connections to it are still made and take bytes, but it does nothing. */
  stall(stallMs: number): void {
    if (this.life === null) return;
    this.surroundings.trace.note(`${this.name} stalls for ${stallMs.toFixed(0)} ms`);
    const untilMs = this.surroundings.timeline.nowMs + stallMs;
    this.life.stalledUntilMs = Math.max(this.life.stalledUntilMs, untilMs);
  }
}
