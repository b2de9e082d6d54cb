/**
 * Connecting in number: how many clients a second a broker lets in, and what it keeps for each of them while they do
 * nothing. All stay connected until the end, so that no port of this machine is used twice.
 */
import { type Clock, sleep } from "../../lib/clock.js";
import { type Address, Connection, type Role, type TlsSettings } from "./connection.js";
import { Histogram } from "./histogram.js";
import { cpuSeconds, residentBytes } from "./processes.js";
import type { LoadWatch } from "./run.js";
import { type Login, type MqttVersion, type Qos, WireError } from "./wire.js";

export interface ConnectOptions {
  readonly address: Address;
  readonly version: MqttVersion;
  readonly login: Login | null;
  readonly tls: TlsSettings | null;
  readonly clients: number;
  /** Handshakes under way at once. */
  readonly concurrency: number;
  /** Each subscribes to a topic of its own with this QoS; null: to none. */
  readonly subscribe: Qos | null;
  /** How long they stay and do nothing before memory is looked at. */
  readonly holdMs: number;
  /** For all of it. */
  readonly timeoutMs: number;
  /** The broker's processes; empty: unknown. */
  readonly pids: readonly number[];
}

export interface ConnectResult {
  readonly clients: number;
  readonly seconds: number;
  readonly connectsPerSecond: number;
  /** Per CPU second of the broker; null when its processes are not known. */
  readonly perCpuSecond: number | null;
  /** From the first byte to CONNACK. */
  readonly p50Ms: number | null;
  readonly p99Ms: number | null;
  readonly maxMs: number | null;
  readonly generatorCpuPercent: number;
  /** Of the broker, for each client, at the end of the hold. */
  readonly bytesPerClient: number | null;
}

const readBufferBytes = 65_536;

/** Nothing is published here. */
const role: Role = {
  publish() {
    throw new WireError("a PUBLISH that nobody asked for");
  },
  ack() {
    throw new WireError("an acknowledgement that nobody waits for");
  },
  endOfRead: () => undefined,
};

/** Connects all clients; rejects when one is refused or lost, when it takes too long, or when `stop` does. */
export async function runConnects(
  options: ConnectOptions,
  clock: Clock,
  { stop, onProgress }: LoadWatch = {},
): Promise<ConnectResult> {
  const { clients, concurrency, pids, holdMs, timeoutMs } = options;
  const opened: Connection[] = [];
  const latencies = new Histogram();
  const readBuffer = Buffer.allocUnsafeSlow(readBufferBytes);
  let fail: (error: Error) => void = () => undefined;
  const failed = new Promise<never>((_, reject) => {
    fail = reject;
  });
  failed.catch(() => undefined);
  const timer = clock.setTimer(timeoutMs, () =>
    fail(new Error(`connecting ${clients} clients took more than ${timeoutMs} ms`)),
  );
  const { address, version, login, tls, subscribe } = options;
  let next = 0;
  const connectSome = async (): Promise<void> => {
    while (next < clients) {
      const number = next++;
      const fromMs = clock.monotonicMs();
      const common = { address, version, login, tls, readBuffer, onLost: fail, persistent: false };
      const connection = new Connection({ ...common, clientId: `bench-c${number}` }, role);
      opened.push(connection);
      await connection.open();
      latencies.add(Math.round((clock.monotonicMs() - fromMs) * 1000));
      if (subscribe !== null) await connection.subscribe(`bench/${number}`, subscribe);
    }
  };
  const before = { atMs: clock.monotonicMs(), cpu: usage(pids), own: ownSeconds() };
  const bytesBefore = pids.length > 0 ? residentBytes(pids) : 0;
  const work = async (): Promise<ConnectResult> => {
    await Promise.all(Array.from({ length: Math.min(concurrency, clients) }, connectSome));
    const seconds = (clock.monotonicMs() - before.atMs) / 1000;
    const cpu = usage(pids) - before.cpu;
    const own = ownSeconds() - before.own;
    onProgress?.(clients / seconds);
    if (holdMs > 0) await sleep(clock, holdMs);
    const bytes = pids.length > 0 ? residentBytes(pids) - bytesBefore : 0;
    return {
      clients,
      seconds,
      connectsPerSecond: Math.round(clients / seconds),
      perCpuSecond: cpu > 0 ? Math.round(clients / cpu) : null,
      p50Ms: milliseconds(latencies.percentile(0.5)),
      p99Ms: milliseconds(latencies.percentile(0.99)),
      maxMs: milliseconds(latencies.max),
      generatorCpuPercent: Math.round((100 * own) / seconds),
      bytesPerClient: pids.length > 0 ? Math.round(bytes / clients) : null,
    };
  };
  try {
    return await Promise.race([work(), failed, ...(stop === undefined ? [] : [stop])]);
  } finally {
    clock.clearTimer(timer);
    next = clients;
    for (const connection of opened) connection.destroy();
  }
}

function usage(pids: readonly number[]): number {
  return pids.length > 0 ? cpuSeconds(pids) : 0;
}

function ownSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

function milliseconds(us: number | undefined): number | null {
  return us === undefined ? null : us / 1000;
}
