/**
 * Keeps one process running: starts it again after a crash, waiting longer each time, and leaves it down when
 * it crashes too often. One that ends by itself with exit code 0 was stopped on purpose and stays down.
 */
import { Backoff } from "../lib/backoff.js";
import { sleep } from "../lib/clock.js";
import type { Log } from "../lib/log.js";
import type { Child } from "./child.js";
import type { Dependencies } from "./dependencies.js";

/** `waiting`: it has crashed and is about to be started again; `down`: it is not. */
export type KeeperState = "running" | "waiting" | "down";

export class Keeper {
  state: KeeperState = "waiting";
  private child: Child | undefined;
  private stopping = false;
  private readonly backoff: Backoff;
  /** When it crashed, within the window. */
  private crashesMs: number[] = [];
  private wake: () => void = () => undefined;

  constructor(
    private readonly start: () => Child,
    private readonly log: Log,
    private readonly dependencies: Dependencies,
  ) {
    const { firstWaitMs, mostWaitMs } = dependencies.supervision;
    this.backoff = new Backoff(dependencies.random, firstWaitMs, mostWaitMs);
  }

  /** Of the process that runs now. */
  get pid(): number | undefined {
    return this.child?.pid;
  }

  /** A node that refuses its very first start would refuse the next one too: it is not repeated. */
  startFirst(): Child["outcome"] {
    this.begin();
    return this.child?.outcome ?? Promise.resolve({ refused: "it was not started" });
  }

  /** Runs until the process was stopped (0) or is given up (1). */
  async run(): Promise<number> {
    const code = await this.keep();
    this.state = "down";
    this.child = undefined;
    return code;
  }

  /** Has the node read its files again; one that is down will when it starts. */
  reload(): void {
    this.child?.kill("SIGHUP");
  }

  /** Stops the node; resolves when it has ended, and `run` then returns. */
  async stop(): Promise<void> {
    this.stopping = true;
    this.wake();
    const child = this.child;
    if (child === undefined) return;
    child.kill("SIGTERM");
    const late = sleep(this.dependencies.clock, this.dependencies.supervision.stopMs);
    const how = await Promise.race([late.then(() => "late"), child.ended]);
    if (how !== "late") return;
    this.log.error({}, "the node does not stop and is killed");
    child.kill("SIGKILL");
    await child.ended;
  }

  private begin(): void {
    this.child = this.start();
    this.state = "running";
  }

  private async keep(): Promise<number> {
    for (;;) {
      const how = await this.child?.ended;
      if (this.stopping || how === 0) return 0;
      this.child = undefined;
      this.state = "waiting";
      if (this.isTooOften()) {
        const { crashesMax, windowMs } = this.dependencies.supervision;
        const text = `left down after ${crashesMax} crashes in ${windowMs / 1000} s`;
        this.log.error({ how }, `the node is ${text}; \`broker start\` starts it again`);
        return 1;
      }
      const waitMs = Math.round(this.backoff.nextMs());
      this.log.warn({ how, waitMs }, "the node has crashed and will be started again");
      await this.pause(waitMs);
      if (this.stopping) return 0;
      this.begin();
    }
  }

  private isTooOften(): boolean {
    const { crashesMax, windowMs } = this.dependencies.supervision;
    const nowMs = this.dependencies.clock.monotonicMs();
    this.crashesMs = this.crashesMs.filter((crashMs) => nowMs - crashMs < windowMs);
    if (this.crashesMs.length === 0) this.backoff.reset();
    this.crashesMs.push(nowMs);
    return this.crashesMs.length >= crashesMax;
  }

  private pause(waitMs: number): Promise<void> {
    const woken = new Promise<void>((resolve) => {
      this.wake = resolve;
    });
    return Promise.race([woken, sleep(this.dependencies.clock, waitMs)]);
  }
}
