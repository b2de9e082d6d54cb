/** What one run of the load generator does, and against whom. */
import type { Address, TlsSettings } from "./connection.js";
import type { Login, MqttVersion, Qos } from "./wire.js";

export const modes = ["throughput", "fanout", "fanin", "latency"] as const;
export type Mode = (typeof modes)[number];

export interface LoadOptions {
  readonly mode: Mode;
  /** Connections are dealt to the addresses in turn. */
  readonly publisherAddresses: readonly Address[];
  readonly subscriberAddresses: readonly Address[];
  readonly publishers: number;
  /** A multiple of `topics`, so that every topic has equally many. */
  readonly subscribers: number;
  readonly topics: number;
  /** Each publisher stays on one topic instead of taking them in turn; with fanin it does in any case. */
  readonly ownTopic: boolean;
  readonly qos: Qos;
  readonly sizeBytes: number;
  readonly version: MqttVersion;
  readonly login: Login | null;
  readonly tls: TlsSettings | null;
  /** The subscribers' sessions outlive their connections, until the end of the run. */
  readonly persistent: boolean;
  /** QoS 1 and 2: messages in flight per publisher. */
  readonly window: number;
  /** Deliveries outstanding over all subscribers before publishers are held. */
  readonly backlog: number;
  /** Messages a second over all publishers; 0: as many as the broker takes. */
  readonly ratePerSecond: number;
  /** With a rate: publishers are looked after each so many ms; 0: all the time, which keeps a core busy. */
  readonly tickMs: number;
  /** What topics begin with. */
  readonly prefix: string;
  /** Messages per publisher, after which the run ends; 0: it ends by time. */
  readonly messages: number;
  readonly durationMs: number;
  readonly warmUpMs: number;
  /** How long the end of a run waits for what is outstanding. */
  readonly drainMs: number;
  readonly timeoutMs: number;
  /** The broker's processes, for CPU and memory. */
  readonly pids: readonly number[];
}
