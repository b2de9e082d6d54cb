/** The cases of `broker bench`: what each measures, and how it is asked of the load generator. */
import type { Address, TlsSettings } from "./connection.js";
import type { LoadOptions, Mode } from "./load-options.js";
import { type Login, type MqttVersion, type Qos, stampBytes } from "./wire.js";

/** What the operator chose, the same for all cases. */
export interface BenchTarget {
  readonly address: Address;
  /** Another node of the same cluster, for the cases that cross it; null: there are none. */
  readonly other: Address | null;
  readonly version: MqttVersion;
  readonly login: Login | null;
  readonly tls: TlsSettings | null;
  readonly durationMs: number;
  readonly clients: number;
  readonly payloadBytes: number;
  readonly window: number;
  readonly ratePerSecond: number;
  /** The broker's processes, when it runs on this machine and the operator says which. */
  readonly pids: readonly number[];
  /** The subscribers' sessions outlive their connections. */
  readonly persistent: boolean;
}

export const connectCase = "connect";

interface Shape {
  readonly mode: Mode;
  readonly qos: Qos;
  /** How many publishers, subscribers and topics, of `clients` clients. */
  readonly shape: (clients: number) => readonly [number, number, number];
  readonly crosses?: true;
}

const one = (): [number, number, number] => [1, 1, 1];
const few = (): [number, number, number] => [10, 10, 10];

const shapes = {
  qos0: { mode: "throughput", qos: 0, shape: one },
  qos1: { mode: "throughput", qos: 1, shape: one },
  qos2: { mode: "throughput", qos: 2, shape: one },
  fanout: { mode: "fanout", qos: 0, shape: (clients) => [1, clients, 1] },
  fanin: { mode: "fanin", qos: 1, shape: (clients) => [clients, 1, clients] },
  latency: { mode: "latency", qos: 1, shape: few },
  "cluster-qos0": { mode: "throughput", qos: 0, shape: one, crosses: true },
  "cluster-qos1": { mode: "throughput", qos: 1, shape: one, crosses: true },
} as const satisfies Record<string, Shape>;

export type LoadCase = keyof typeof shapes;
export type CaseName = LoadCase | typeof connectCase;

/** In the order in which they run. */
export const caseNames: readonly CaseName[] = [
  ...["qos0", "qos1", "qos2", "fanout", "fanin", "latency", "connect"],
  ...["cluster-qos0", "cluster-qos1"],
] as const satisfies readonly CaseName[];

export function isCaseName(word: string): word is CaseName {
  return caseNames.some((name) => name === word);
}

/** Whether the case needs another node. */
export function crosses(name: CaseName): boolean {
  return name !== connectCase && "crosses" in shapes[name];
}

/** How many clients connect: a hundred would be over before anything has warmed up. */
export function connectsOfCase({ clients }: BenchTarget): number {
  return Math.min(10 * clients, 10_000);
}

/** A line for people. */
export function titleOf(name: CaseName, target: BenchTarget): string {
  const { clients, ratePerSecond, window } = target;
  if (name === connectCase) return `${connectsOfCase(target)} connects`;
  const { qos } = shapes[name];
  const flight = qos > 0 ? `, ${window} in flight` : "";
  const titles: Record<LoadCase, string> = {
    qos0: "1 → 1, QoS 0",
    qos1: `1 → 1, QoS 1${flight}`,
    qos2: `1 → 1, QoS 2${flight}`,
    fanout: `1 → ${clients}, QoS 0`,
    fanin: `${clients} → 1, QoS 1`,
    latency: `10 → 10, QoS 1, ${ratePerSecond} msg/s`,
    "cluster-qos0": "node → other node, QoS 0",
    "cluster-qos1": `node → other node, QoS 1${flight}`,
  };
  return titles[name];
}

/** What the generator is to do. */
export function loadOf(name: LoadCase, target: BenchTarget): LoadOptions {
  const { address, other, version, login, tls, clients, window, durationMs, pids, persistent } =
    target;
  const { mode, qos, shape } = shapes[name];
  const [publishers, subscribers, topics] = shape(clients);
  return {
    ...{
      mode,
      qos,
      version,
      login,
      tls,
      publishers,
      subscribers,
      topics,
      window,
      pids,
      persistent,
    },
    publisherAddresses: [address],
    subscriberAddresses: [crosses(name) && other !== null ? other : address],
    sizeBytes: Math.max(stampBytes, target.payloadBytes),
    // As many per subscriber with many of them as with few.
    ownTopic: false,
    backlog: mode === "fanout" ? 1000 * clients : 10_000,
    ratePerSecond: mode === "latency" ? target.ratePerSecond : 0,
    tickMs: 0,
    prefix: "bench",
    messages: 0,
    durationMs,
    warmUpMs: Math.min(1000, durationMs / 2),
    drainMs: 10_000,
    timeoutMs: 20_000,
  };
}
