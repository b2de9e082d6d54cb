/**
 * The processes that a comparison starts: brokers on one core, the load on another. Every one of
 * them is ended by `stopAll`, whatever happened before.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createServer, connect } from "node:net";
import { availableParallelism } from "node:os";
import { delimiter, join } from "node:path";
import { type Clock, sleep } from "../src/lib/clock.js";

/** Which core a process is pinned to, where the machine has `taskset` and two cores. */
export const core = { broker: 0, load: 1 } as const;

const stopMs = 5000;
const startMs = 20_000;
/** Of what a process wrote, this much is kept for the case that it fails. */
const keptCharacters = 2000;
const live = new Set<Child>();

/** The path of a program, or undefined when it is not installed. System folders count too. */
export function findProgram(name: string): string | undefined {
  const folders = [...(process.env.PATH ?? "").split(delimiter), "/usr/local/sbin", "/usr/sbin"];
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
}

/** True when `start` can pin. */
export function canPin(): boolean {
  return availableParallelism() >= 2 && findProgram("taskset") !== undefined;
}

export class Child {
  /** What the process wrote to standard output. */
  output = "";
  /** The end of what it wrote to either. */
  tail = "";
  readonly ended: Promise<number | null>;
  private readonly process: ChildProcess;

  /** Starts `program`; settings of a broker in our own environment are not passed on. */
  constructor(
    private readonly clock: Clock,
    program: string,
    args: readonly string[],
    onCore: number | readonly number[],
    environment: Readonly<Record<string, string>> = {},
  ) {
    const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith("BROKER_"));
    const env = { ...Object.fromEntries(inherited), ...environment };
    const [first, rest] = canPin()
      ? ["taskset", ["-c", String(onCore), program, ...args]]
      : [program, [...args]];
    this.process = spawn(first, rest, { env, stdio: ["ignore", "pipe", "pipe"] });
    live.add(this);
    this.process.stdout?.on("data", (text: Buffer) => {
      this.output += text.toString();
      this.keep(text);
    });
    this.process.stderr?.on("data", (text: Buffer) => this.keep(text));
    this.ended = new Promise((resolve) => {
      this.process.once("error", (error) => {
        this.tail += error.message;
        live.delete(this);
        resolve(null);
      });
      this.process.once("close", (code) => {
        live.delete(this);
        resolve(code);
      });
    });
  }

  get pid(): number {
    return this.process.pid ?? 0;
  }

  get isLive(): boolean {
    return live.has(this);
  }

  /** Resolves with the exit code; a process that takes longer than `limitMs` is stopped: null. */
  async end(limitMs: number): Promise<number | null> {
    const timer = this.clock.setTimer(limitMs, () => {
      this.tail += ` (stopped: it took more than ${limitMs} ms)`;
      this.process.kill("SIGKILL");
    });
    const code = await this.ended;
    this.clock.clearTimer(timer);
    return code;
  }

  /** Asks the process to end; one that does not within five seconds is killed. */
  async stop(): Promise<void> {
    if (!this.isLive) return;
    this.process.kill("SIGTERM");
    const timer = this.clock.setTimer(stopMs, () => this.process.kill("SIGKILL"));
    await this.ended;
    this.clock.clearTimer(timer);
  }

  private keep(text: Buffer): void {
    this.tail = (this.tail + text.toString()).slice(-keptCharacters);
  }
}

export async function stopAll(): Promise<void> {
  await Promise.all([...live].map((child) => child.stop()));
}

/** A port that is free now. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      const port = typeof address === "object" && address !== null ? address.port : 0;
      server.close(() => resolve(port));
    });
  });
}

/** Resolves when `child` accepts connections on `port`; rejects when it ends or takes too long. */
export async function accepting(
  clock: Clock,
  child: Child,
  port: number,
  limitMs = startMs,
): Promise<void> {
  const untilMs = clock.monotonicMs() + limitMs;
  while (!(await answers(port))) {
    if (!child.isLive) throw new Error(`it ended at start: ${child.tail.trim()}`);
    if (clock.monotonicMs() > untilMs) throw new Error(`it does not listen: ${child.tail.trim()}`);
    await sleep(clock, 50);
  }
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port });
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
