/**
 * `broker check`: a real round trip through a broker, for health checks: connects as a client, subscribes, publishes
 * with QoS 1, and waits for the acknowledgement and for the message itself.
 */
import { readFileSync } from "node:fs";
import { enabledListeners, type ListenerSettings } from "../config/listeners.js";
import type { Config } from "../config/schema.js";
import { Refusal } from "../lib/refusal.js";
import { type Address, Connection } from "./bench/connection.js";
import { encodePublish, head, type Login, type as packetType } from "./bench/wire.js";
import type { Dependencies } from "./dependencies.js";
import { type CommonOptions, configOf } from "./options.js";

export interface CheckOptions extends CommonOptions {
  readonly host?: string | undefined;
  readonly port?: number | undefined;
  readonly socket?: string | undefined;
  readonly user?: string | undefined;
  readonly "password-file"?: string | undefined;
  readonly topic: string;
  /** Seconds for all of it. */
  readonly timeout: number;
}

const payloadBytes = 32;
const readBytes = 64 * 1024;
const packetId = 2;

/**
 * Prints how long it took and returns 0.
 * @throws Refusal when it did not come back, with the reason
 */
export async function check(options: CheckOptions, dependencies: Dependencies): Promise<number> {
  const { clock, random, terminal } = dependencies;
  const address = addressOf(options, configOf(options, dependencies).config);
  const login = loginOf(options);
  const beganMs = clock.monotonicMs();
  const trip = new RoundTrip(address, login, random.bytes(8).toString("hex"), options.topic);
  const timer = clock.setTimer(options.timeout * 1000, () => {
    trip.fail(`no answer within ${options.timeout} s`);
  });
  try {
    await trip.run();
    trip.close();
  } catch (error) {
    trip.destroy();
    const why = error instanceof Error ? error.message : String(error);
    throw new Refusal(`${nameOf(address)}: ${why.replace(/^check-\w+ at \S*: /, "")}`);
  } finally {
    clock.clearTimer(timer);
  }
  const tookMs = Math.ceil(clock.monotonicMs() - beganMs);
  terminal.print(`${nameOf(address)} answers: a QoS 1 message came back in ${tookMs} ms`);
  return 0;
}

class RoundTrip {
  private readonly payload: Buffer;
  private readonly topic: string;
  private readonly connection: Connection;
  private acknowledged = false;
  private received = false;
  private onDone: () => void = () => undefined;
  private onFailed: (why: Error) => void = () => undefined;
  private failure: Error | null = null;

  constructor(address: Address, login: Login | null, id: string, topic: string) {
    this.payload = Buffer.from(id.padEnd(payloadBytes, "."));
    this.topic = topic.replaceAll("%r", id);
    this.connection = new Connection(
      {
        ...{ address, login, version: 4, tls: null, clientId: `check-${id}` },
        persistent: false,
        readBuffer: Buffer.allocUnsafe(readBytes),
        onLost: (error) => this.fail(error.message),
      },
      {
        publish: (bytes, at, length, qos, sentId) => this.onPublish(bytes, at, length, qos, sentId),
        ack: (kind, answered) => this.onAck(kind, answered),
        endOfRead: () => this.connection.sendAcks(),
      },
    );
  }

  async run(): Promise<void> {
    const done = new Promise<void>((resolve, reject) => {
      this.onDone = resolve;
      this.onFailed = reject;
      if (this.failure !== null) reject(this.failure);
    });
    await Promise.race([done, this.send()]);
    await done;
  }

  fail(why: string): void {
    this.failure ??= new Error(why);
    this.onFailed(this.failure);
  }

  /** Leaves with a DISCONNECT. */
  close(): void {
    this.connection.close();
  }

  destroy(): void {
    this.connection.destroy();
  }

  private async send(): Promise<void> {
    await this.connection.open();
    await this.connection.subscribe(this.topic, 1);
    const { bytes, packetIdAt, payloadAt } = encodePublish(this.topic, 1, payloadBytes, false);
    bytes.writeUInt16BE(packetId, packetIdAt);
    bytes.set(this.payload, payloadAt);
    this.connection.socket.write(bytes);
  }

  private onPublish(
    bytes: Uint8Array,
    payloadAt: number,
    length: number,
    qos: number,
    sentId: number,
  ): void {
    if (qos === 1) this.connection.queueAck(head.puback, sentId);
    const payload = Buffer.from(bytes.buffer, bytes.byteOffset + payloadAt, length);
    if (payload.equals(this.payload)) this.received = true;
    this.settle();
  }

  private onAck(kind: number, answered: number): void {
    if (kind === packetType.puback && answered === packetId) this.acknowledged = true;
    this.settle();
  }

  private settle(): void {
    if (this.acknowledged && this.received) this.onDone();
  }
}

/** What was typed, else a listener of the settings that takes clients as they are: the Unix socket before TCP. */
function addressOf({ host, port, socket }: CheckOptions, config: Config): Address {
  if (socket !== undefined) return { host: "", port: 0, path: socket };
  if (host !== undefined || port !== undefined) {
    return { host: host ?? "127.0.0.1", port: port ?? 1883 };
  }
  const listeners = enabledListeners(config.listeners);
  const unix = listeners.find(({ kind }) => kind === "unix");
  if (unix?.kind === "unix") return { host: "", port: 0, path: unix.path };
  const tcp = listeners.find(isPlain);
  if (tcp === undefined || tcp.kind !== "tcp" || tcp.port === 0) {
    throw new Refusal(
      "no listener of the settings can be checked: a Unix socket, or TCP on a fixed port without PROXY protocol; " +
        "say which with --host and --port, or --socket",
    );
  }
  return { host: reachable(tcp.bind), port: tcp.port };
}

const isPlain = (listener: ListenerSettings): boolean =>
  listener.kind === "tcp" && !listener.proxy_protocol;

/** An address for all interfaces is none to connect to. */
function reachable(bind: string): string {
  if (bind === "0.0.0.0") return "127.0.0.1";
  return bind === "::" ? "::1" : bind;
}

/** @throws Refusal when the file cannot be read */
function loginOf({ user, "password-file": file }: CheckOptions): Login | null {
  if (user === undefined) return null;
  if (file === undefined) return { user, password: null };
  try {
    return { user, password: readFileSync(file, "utf8").split(/\r?\n/, 1)[0] ?? "" };
  } catch {
    throw new Refusal(`the file ${file} cannot be read`);
  }
}

const nameOf = ({ host, port, path }: Address): string => path ?? `${host}:${port}`;
