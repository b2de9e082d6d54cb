/** Plays a scenario against one broker, step by step, and remembers what each client got. */
import mqtt from "mqtt";
import type { Step } from "./scenario.js";

/** What one client got, in order: `topic retain payload`. The QoS is not compared (aedes.test.ts). */
export type Deliveries = Map<string, string[]>;

const deadlineMs = 5_000;

export class Player {
  readonly deliveries: Deliveries = new Map();
  private readonly clients = new Map<string, mqtt.MqttClient>();
  /** Payloads of the wills of connected clients, and of everything that a watcher saw. */
  private readonly wills = new Map<string, string>();
  private readonly seen = new Set<string>();

  constructor(
    readonly name: string,
    private readonly port: number,
  ) {}

  /** Connects the watcher, who tells when a will was published. */
  async start(): Promise<void> {
    const watcher = mqtt.connect({ ...this.options("watcher"), clean: true });
    this.clients.set("watcher", watcher);
    watcher.on("message", (_topic, payload) => void this.seen.add(payload.toString()));
    await new Promise<void>((resolve) => void watcher.once("connect", () => resolve()));
    await watcher.subscribeAsync("#", { qos: 0 });
  }

  /** Does one step; resolves when the broker has answered it. */
  async play(step: Step): Promise<void> {
    if (step.kind === "connect") {
      await this.connect(step);
      return;
    }
    const client = this.client(step.client);
    switch (step.kind) {
      case "disconnect":
        await client.endAsync(false);
        return;
      case "drop":
        client.stream.destroy();
        await this.closed(client);
        // Its will is published when the broker notices: what comes next must come after it.
        await this.willSeen(this.wills.get(step.client));
        return;
      case "subscribe":
        await client.subscribeAsync(step.filter, { qos: step.qos });
        return;
      case "unsubscribe":
        await client.unsubscribeAsync(step.filter);
        return;
      case "publish":
        await client.publishAsync(step.topic, step.payload, { qos: step.qos, retain: step.retain });
        // QoS 0 has no answer: one that comes behind it has.
        if (step.qos === 0) await client.publishAsync("$behind/it", "x", { qos: 1 });
    }
  }

  /** What all clients got, as text that can be compared. */
  summary(): string {
    return [...this.deliveries]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([client, got]) => `${client}: ${[...got].sort().join(" | ")}`)
      .join("\n");
  }

  async stop(): Promise<void> {
    for (const client of this.clients.values()) await client.endAsync(true);
  }

  private async connect(step: Extract<Step, { kind: "connect" }>): Promise<void> {
    const { client: clientId, clean, will } = step;
    const got = this.deliveries.get(clientId) ?? [];
    this.deliveries.set(clientId, got);
    if (will === null) this.wills.delete(clientId);
    else this.wills.set(clientId, will.payload);
    const client = mqtt.connect({
      ...this.options(clientId),
      clean,
      ...(will === null ? {} : { will: { ...will, payload: Buffer.from(will.payload) } }),
    });
    client.on("error", () => undefined);
    client.on("message", (topic, payload, { retain }) => {
      got.push(`${topic} ${retain} ${payload.toString()}`);
    });
    this.clients.set(clientId, client);
    await new Promise<void>((resolve, reject) => {
      client.once("connect", () => resolve());
      client.once("close", () => reject(new Error(`${this.name} closed ${clientId}`)));
    });
  }

  private options(clientId: string): mqtt.IClientOptions {
    return {
      ...{ host: "127.0.0.1", port: this.port, clientId, protocolVersion: 4 },
      ...{ reconnectPeriod: 0, keepalive: 0, connectTimeout: deadlineMs },
    };
  }

  private async willSeen(payload: string | undefined): Promise<void> {
    const endMs = performance.now() + deadlineMs;
    while (payload !== undefined && !this.seen.has(payload)) {
      if (performance.now() > endMs) throw new Error(`${this.name} did not publish ${payload}`);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  private client(clientId: string): mqtt.MqttClient {
    const client = this.clients.get(clientId);
    if (client === undefined) throw new Error(`${clientId} was never connected`);
    return client;
  }

  private async closed(client: mqtt.MqttClient): Promise<void> {
    if (client.connected)
      await new Promise((resolve) => client.once("close", () => resolve(undefined)));
  }
}
