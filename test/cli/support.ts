/** A place of its own for each test of the command line, and a terminal that remembers. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { readEnvironment } from "../../src/config/environment.js";
import type { Dependencies } from "../../src/cli/dependencies.js";
import { main } from "../../src/cli/main.js";
import type { Terminal } from "../../src/cli/output.js";

/** What one run of the command line came to. */
export interface Outcome {
  readonly code: number;
  readonly output: string;
  readonly errors: string;
}

/** A command line whose files are all in one folder, which goes when the test ends. */
export class Place {
  readonly folder: string;
  readonly environment: Record<string, string>;
  /** What is to be done when the test ends, the last first: a node can be asked to stop while its folder is there. */
  private readonly endings: (() => unknown)[] = [];

  constructor(
    t: TestContext,
    private readonly dependencies: Dependencies,
  ) {
    this.folder = mkdtempSync(join(tmpdir(), "trellis-cli-"));
    this.environment = {
      BROKER_NODE__RUN_DIR: join(this.folder, "run"),
      BROKER_COOKIE: "c".repeat(32),
      BROKER_CLUSTER__PORT_RANGE: "0-0",
    };
    t.after(() => this.end());
  }

  /** Stops a node that a failed test has left in the background, when the test ends. */
  stopAtEnd(): void {
    this.endings.push(() => this.run(["stop"]));
  }

  /** Runs a command line in this process. `answers` are typed when it asks. */
  async run(words: readonly string[], answers: readonly string[] = []): Promise<Outcome> {
    const left = [...answers];
    const output: string[] = [];
    const errors: string[] = [];
    const terminal: Terminal = {
      print: (text) => void output.push(text),
      printError: (text) => void errors.push(text),
      progress: () => undefined,
      ask: async (question, where = "output") => {
        (where === "output" ? output : errors).push(question);
        return left.shift();
      },
      askSecret: async (question) => {
        errors.push(question);
        return left.shift();
      },
      prompt: async (_label, onLine) => {
        for (let line = left.shift(); line !== undefined; line = left.shift()) {
          if (!(await onLine(line))) return;
        }
      },
    };
    const code = await main(words, {
      ...this.dependencies,
      terminal,
      environment: readEnvironment(this.environment),
      place: { cwd: this.folder, home: this.folder, uid: 0 },
    });
    return { code, output: output.join("\n"), errors: errors.join("\n") };
  }

  /** Runs a command line as a process of its own, killed when the test ends. */
  spawn(words: readonly string[]): Spawned {
    const [program = process.execPath, ...first] = this.dependencies.self;
    const child = spawn(program, [...first, ...words], {
      cwd: this.folder,
      env: { ...process.env, HOME: this.folder, ...this.environment },
      stdio: ["pipe", "pipe", "pipe"],
    });
    const spawned = new Spawned(child);
    this.endings.push(() => {
      spawned.kill("SIGKILL");
      return spawned.ended;
    });
    return spawned;
  }

  /** Lets processes that this one starts inherit the environment of the place, until the test ends. */
  shareEnvironment(): void {
    const before = { ...process.env };
    Object.assign(process.env, this.environment);
    this.endings.push(() => {
      for (const name of Object.keys(this.environment)) delete process.env[name];
      Object.assign(process.env, before);
    });
  }

  private async end(): Promise<void> {
    try {
      for (const ending of this.endings.reverse()) await ending();
    } finally {
      rmSync(this.folder, { recursive: true, force: true });
    }
  }
}

/** A process and all that it has printed. */
export class Spawned {
  output = "";
  errors = "";
  readonly ended: Promise<number | string>;
  private ending: number | string | undefined;

  constructor(private readonly child: ChildProcess) {
    child.stdout?.on("data", (bytes) => {
      this.output += bytes;
    });
    child.stderr?.on("data", (bytes) => {
      this.errors += bytes;
    });
    this.ended = new Promise((resolve) => {
      child.once("close", (code, signal) => {
        this.ending = code ?? signal ?? "unknown";
        resolve(this.ending);
      });
    });
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  type(line: string): void {
    this.child.stdin?.write(`${line}\n`);
  }

  closeInput(): void {
    this.child.stdin?.end();
  }

  kill(signal: NodeJS.Signals): void {
    if (this.ending === undefined) this.child.kill(signal);
  }

  /** Waits until the output matches. */
  async prints(expected: RegExp, withinMs = 20_000): Promise<void> {
    await until(
      () => expected.test(this.output),
      withinMs,
      () => {
        return `no ${expected} in:\n${this.output}\n${this.errors}\nended: ${this.ending}`;
      },
    );
  }
}

/** Waits for a condition, looking often. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  withinMs = 20_000,
  problem: () => string = () => "the condition did not come true",
): Promise<void> {
  const deadlineMs = performance.now() + withinMs;
  while (!(await condition())) {
    if (performance.now() > deadlineMs) throw new Error(problem());
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Is there a process with this id? */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
