/**
 * A cluster of real processes for one test: every node has its own data directory, free ports and a
 * control socket, and is killed when the test ends.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import mqtt from "mqtt";
import { request } from "../../src/admin/ctl-client.js";
import { ctlPath } from "../../src/admin/ctl-protocol.js";
import type { ClusterStatus } from "../../src/admin/parts.js";
import { programArguments } from "./program.js";

const startDeadlineMs = 60_000;
const pollMs = 20;

/** Waits until `probe` returns something other than undefined; on time-out says what was seen last. */
export async function until<T>(
  what: string,
  probe: () => T | undefined | Promise<T | undefined>,
  seen: () => unknown = () => "nothing",
  deadlineMs = 15_000,
): Promise<T> {
  const endMs = performance.now() + deadlineMs;
  for (;;) {
    const value = await probe();
    if (value !== undefined) return value;
    if (performance.now() > endMs) {
      throw new Error(`${what} did not happen in ${deadlineMs} ms; seen: ${String(await seen())}`);
    }
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
}

/** Whatever ends what it was given to end: a test, or a program of its own. */
export interface Scope {
  after(cleanup: () => void): void;
}

/** One node's process; it can be killed and started again. */
export class TestNode {
  mqttPort = 0;
  linkPort = 0;
  /** Program and arguments that run the node's command line, if it is not to be run as it is. */
  launcher: readonly string[] = [];
  /** Further environment of the process. */
  environment: Readonly<Record<string, string>> = {};
  /** What it has written to its outputs since it was started. */
  output = "";
  private child: ChildProcess | null = null;

  constructor(
    private readonly t: Scope,
    readonly name: string,
    private readonly folder: string,
    private readonly settings: readonly string[],
    private readonly cookie: string,
  ) {}

  get pid(): number {
    return this.child?.pid ?? 0;
  }

  /**
   * Starts the process and waits for its report. Its ports stay the same over restarts: where an outgoing connection of
   * some other program has one of them at the moment, it is tried again.
   */
  async start(): Promise<void> {
    const endMs = performance.now() + startDeadlineMs;
    while (!(await this.isStarted())) {
      if (performance.now() > endMs) throw new Error(`${this.name} has no port: ${this.output}`);
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  }

  /** False: it has ended because a port of its own was taken. */
  private async isStarted(): Promise<boolean> {
    this.output = "";
    const { NODE_TEST_CONTEXT: _, ...inherited } = process.env;
    const settings = [...this.settings, `listeners.tcp.port=${this.mqttPort}`];
    const flags = settings.flatMap((setting) => ["--set", setting]);
    const data = join(this.folder, "data", this.name);
    const [program = process.execPath, ...first] = [...this.launcher, process.execPath];
    const child = spawn(
      program,
      [
        ...[...first, ...programArguments],
        ...["foreground", "--node", this.name, "--data", data, ...flags],
      ],
      {
        env: {
          ...inherited,
          ...this.environment,
          HOME: this.folder,
          BROKER_COOKIE: this.cookie,
          BROKER_NODE__RUN_DIR: join(this.folder, "run"),
          BROKER_CLUSTER__PORT_RANGE: `${this.linkPort}-${this.linkPort}`,
        },
        stdio: ["ignore", "pipe", "pipe"],
      },
    );
    this.child = child;
    child.stdout?.on("data", (bytes) => {
      this.output += bytes;
    });
    child.stderr?.on("data", (bytes) => {
      this.output += bytes;
    });
    this.t.after(() => child.kill("SIGKILL"));
    const report = /mqtt 127\.0\.0\.1:(\d+)\n(?: {2}\S.*\n)*? {2}link 127\.0\.0\.1:(\d+)/;
    const taken = /another program has this port|in use on/;
    const ports = await until(
      `start of ${this.name}`,
      () => {
        if (this.child !== child) throw new Error(`${this.name} was started once more`);
        return report.exec(this.output) ?? (taken.test(this.output) ? null : undefined);
      },
      () => this.output,
      startDeadlineMs,
    );
    if (ports === null) {
      await this.ended();
      return false;
    }
    this.mqttPort = Number(ports[1]);
    this.linkPort = Number(ports[2]);
    return true;
  }

  /** It stays connected and says nothing more, until `resume`. */
  pause(): void {
    this.child?.kill("SIGSTOP");
  }

  resume(): void {
    this.child?.kill("SIGCONT");
  }

  /** Its data directory. */
  get dataDirectory(): string {
    return join(this.folder, "data", this.name);
  }

  /** Waits until the process has ended by itself; its exit code. */
  async ended(): Promise<number | null> {
    return await until(
      "the end of the process",
      () => {
        // What it has written last may come after its end.
        const { exitCode = null, stdout, stderr } = this.child ?? {};
        const isRead = stdout?.readableEnded !== false && stderr?.readableEnded !== false;
        return isRead ? (exitCode ?? undefined) : undefined;
      },
      () => this.output,
    );
  }

  /** kill -9; resolves when the process is gone. */
  async kill(): Promise<void> {
    const { child } = this;
    if (child === null) return;
    const gone = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await gone;
  }

  /** Kills it unless it has ended by itself. */
  async end(): Promise<void> {
    const { exitCode, signalCode } = this.child ?? { exitCode: 0 };
    if (exitCode === null && signalCode === null) await this.kill();
  }

  /** SIGTERM: an orderly stop; resolves when the process is gone. */
  async stop(): Promise<void> {
    const { child } = this;
    if (child === null) return;
    const gone = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGTERM");
    await gone;
  }

  /** Runs a ctl command; rejects with its error. */
  async ctl<T = unknown>(command: string, args: Record<string, unknown> = {}): Promise<T> {
    const path = ctlPath(join(this.folder, "run"), this.name);
    const response = await request(path, { command, args, force: true });
    if ("confirm" in response) throw new Error(`asked in spite of force: ${response.confirm}`);
    if (!response.ok) throw new Error(response.error);
    return response.result as T; // the caller knows the command
  }

  status(): Promise<ClusterStatus> {
    return this.ctl<ClusterStatus>("status");
  }

  async metric(name: string): Promise<number> {
    const metrics = await this.ctl<Record<string, number>>("metrics");
    return metrics[name] ?? 0;
  }

  /** Waits until exactly these nodes are up in the eyes of this one. */
  async sees(nodes: readonly TestNode[]): Promise<void> {
    const wanted = nodes.map(({ name }) => name).sort();
    let last: readonly string[] = [];
    await until(
      `${this.name} seeing ${wanted.join(" ")}`,
      async () => {
        const { members } = await this.status();
        last = members.filter(({ state }) => state === "up").map(({ name }) => name);
        return [...last].sort().join(" ") === wanted.join(" ") || undefined;
      },
      () => last.join(" "),
    );
  }

  /** An MQTT client of this node, closed when the test ends. */
  async connect(options: mqtt.IClientOptions = {}): Promise<TestClient> {
    // Listened to from the beginning: what waited for it may come together with CONNACK.
    const client = mqtt.connect({
      ...{ host: "127.0.0.1", port: this.mqttPort, reconnectPeriod: 0 },
      ...options,
    });
    this.t.after(() => client.end(true));
    const listening = new TestClient(client);
    await new Promise<void>((resolve, reject) => {
      client.once("connect", () => resolve());
      client.once("error", reject);
      client.once("close", () => reject(new Error("closed before CONNACK")));
    });
    client.on("error", () => undefined);
    return listening;
  }
}

/** An MQTT.js client that keeps what it gets. */
export class TestClient {
  readonly received: { topic: string; payload: string; packet: mqtt.IPublishPacket }[] = [];
  disconnectReason: number | undefined;

  constructor(readonly mqtt: mqtt.MqttClient) {
    mqtt.on("message", (topic, payload, packet) => {
      this.received.push({ topic, payload: payload.toString(), packet });
    });
    mqtt.on("disconnect", (packet) => {
      this.disconnectReason = packet.reasonCode;
    });
  }

  async subscribe(filter: string, qos: 0 | 1 | 2 = 1): Promise<void> {
    await this.mqtt.subscribeAsync(filter, { qos });
  }

  async publish(
    topic: string,
    payload: string,
    options: mqtt.IClientPublishOptions = { qos: 1 },
  ): Promise<void> {
    await this.mqtt.publishAsync(topic, payload, options);
  }

  /** Waits for `count` messages and returns their payloads. */
  async payloads(count: number): Promise<string[]> {
    await until(
      `${count} messages`,
      () => this.received.length >= count || undefined,
      () => this.received.map(({ payload }) => payload).join(" "),
    );
    return this.received.map(({ payload }) => payload);
  }

  /** Waits until `condition` holds. */
  async waitFor(what: string, condition: () => boolean, deadlineMs?: number): Promise<void> {
    await until(
      what,
      () => condition() || undefined,
      () => this.received.map(({ topic, payload }) => `${topic} ${payload}`).join(", "),
      deadlineMs,
    );
  }

  async closed(): Promise<void> {
    await until("the close of a client", () => !this.mqtt.connected || undefined);
  }
}

export interface ClusterOptions {
  readonly nodes: number;
  /** Join them with ctl (default), or leave each alone. */
  readonly joined?: boolean;
  readonly settings?: readonly string[];
  /** Further settings of one node, by its index. */
  readonly settingsOf?: (index: number) => readonly string[];
  /** By node index; default: one cookie for all. */
  readonly cookies?: readonly string[];
}

/** Starts nodes named n1@127.0.0.1, n2@… and joins them to the first. */
export async function startNodes(t: Scope, options: ClusterOptions): Promise<TestNode[]> {
  const folder = mkdtempSync(join(tmpdir(), "trellis-cluster-"));
  const nodes: TestNode[] = [];
  t.after(async () => {
    // A node that lives may write to a folder as it is removed.
    for (const node of nodes) await node.end();
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  });
  for (let i = 0; i < options.nodes; i++) {
    const cookie = options.cookies?.[i] ?? "k".repeat(32);
    const settings = [...(options.settings ?? []), ...(options.settingsOf?.(i) ?? [])];
    nodes.push(new TestNode(t, `n${i + 1}@127.0.0.1`, folder, settings, cookie));
  }
  await Promise.all(nodes.map((node) => node.start()));
  const [first, ...others] = nodes;
  if (first === undefined || options.joined === false) return nodes;
  for (const node of others) await join_(node, first);
  for (const node of nodes) await node.sees(nodes);
  return nodes;
}

const join_ = (node: TestNode, member: TestNode): Promise<unknown> =>
  node.ctl("join_cluster", { node: `${member.name}:${member.linkPort}` });
