/**
 * A client that speaks MQTT bytes: it sends what it is told, also what no proper client would, and hands
 * back packets one by one. It answers nothing by itself. Waiting has a deadline.
 */
import { connect as connectSocket } from "node:net";
import type { Duplex } from "node:stream";
import type { TestContext } from "node:test";
import mqttPacket from "mqtt-packet";

const deadlineMs = 5000;

export type Version = 3 | 4 | 5;
export type ConnectOptions = Partial<mqttPacket.IConnectPacket> & { version?: Version };

export class MqttClient {
  readonly packets: mqttPacket.Packet[] = [];
  isClosed = false;
  version: Version = 4;
  /** The bytes of what came since it was set to "". */
  hex: string | null = null;
  private waiting: (() => void)[] = [];
  private parser = mqttPacket.parser({ protocolVersion: 4 });

  private constructor(private readonly socket: Duplex) {
    socket.on("data", (chunk: Buffer) => {
      if (this.hex !== null) this.hex += chunk.toString("hex");
      this.parser.parse(chunk);
    });
    socket.on("close", () => {
      this.isClosed = true;
      this.wake();
    });
    socket.on("error", () => undefined);
    this.useParser(4);
  }

  /** Opens a TCP connection and sends nothing. */
  static async open(t: TestContext, port: number): Promise<MqttClient> {
    const socket = connectSocket({ port, host: "127.0.0.1", noDelay: true });
    t.after(() => socket.destroy());
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("error", reject);
    });
    return new MqttClient(socket);
  }

  /** Speaks on a stream that is open already. */
  static on(t: TestContext, stream: Duplex): MqttClient {
    t.after(() => stream.destroy());
    return new MqttClient(stream);
  }

  /** Opens, sends CONNECT and waits for a CONNACK that accepts. */
  static async connect(
    t: TestContext,
    port: number,
    options: ConnectOptions = {},
  ): Promise<MqttClient> {
    const client = await MqttClient.open(t, port);
    const connack = await client.handshake(options);
    const code = connack.reasonCode ?? connack.returnCode;
    if (code !== 0) throw new Error(`refused with ${code}`);
    return client;
  }

  /** Sends CONNECT and returns the CONNACK. */
  async handshake(options: ConnectOptions = {}): Promise<mqttPacket.IConnackPacket> {
    this.sendConnect(options);
    return await this.expect("connack");
  }

  /** Sends a CONNECT of the client's version as bytes and returns the CONNACK. */
  async handshakeRaw(bytes: readonly number[]): Promise<mqttPacket.IConnackPacket> {
    this.useParser(this.version);
    this.raw(bytes);
    return await this.expect("connack");
  }

  sendConnect({ version = 4, ...rest }: ConnectOptions = {}): void {
    this.useParser(version);
    this.send({
      cmd: "connect",
      protocolId: version === 3 ? "MQIsdp" : "MQTT",
      protocolVersion: version,
      clean: true,
      keepalive: 0,
      clientId: `test-${Math.random().toString(16).slice(2)}`,
      ...rest,
    });
  }

  send(packet: mqttPacket.Packet): void {
    this.raw(mqttPacket.generate(packet, { protocolVersion: this.version }));
  }

  /** Sends bytes as they are. */
  raw(bytes: Buffer | readonly number[]): void {
    this.socket.write(Buffer.from(bytes));
  }

  publish(topic: string, payload: string | Buffer, options: object = {}): void {
    const defaults = { qos: 0, retain: false, dup: false } as const;
    this.send({ cmd: "publish", topic, payload, ...defaults, ...options });
  }

  async subscribe(
    topic: string,
    qos: 0 | 1 | 2 = 0,
    options: Partial<mqttPacket.ISubscription> & { id?: number; messageId?: number } = {},
  ): Promise<number> {
    const { id, messageId = 1, ...rest } = options;
    const properties = id === undefined ? {} : { subscriptionIdentifier: id };
    const subscriptions = [{ topic, qos, nl: false, rap: false, rh: 0, ...rest }];
    this.send({ cmd: "subscribe", messageId, subscriptions, properties });
    const suback = await this.expect("suback");
    return Number(suback.granted[0]);
  }

  ack(cmd: "puback" | "pubrec" | "pubrel" | "pubcomp", messageId: number, reasonCode = 0): void {
    this.send({ cmd, messageId, reasonCode });
  }

  /** The next packet, which must be of this kind. */
  async expect<C extends mqttPacket.PacketCmd>(
    cmd: C,
  ): Promise<Extract<mqttPacket.Packet, { cmd: C }>> {
    const packet = await this.next();
    if (packet.cmd !== cmd) throw new Error(`expected ${cmd}, got ${JSON.stringify(packet)}`);
    // Its cmd was compared above.
    return packet as Extract<mqttPacket.Packet, { cmd: C }>;
  }

  /** The next packet, whatever it is. */
  async next(): Promise<mqttPacket.Packet> {
    await this.until(() => this.packets.length > 0 || this.isClosed, "a packet");
    const packet = this.packets.shift();
    if (packet === undefined) throw new Error("closed while a packet was expected");
    return packet;
  }

  /** Waits until the broker has handled everything sent so far; nothing else may have come. */
  async quiet(): Promise<void> {
    this.raw([0xc0, 0x00]);
    await this.expect("pingresp");
  }

  /** Waits until the broker closes; packets before that are left in `packets`. */
  async closed(): Promise<void> {
    await this.until(() => this.isClosed, "the connection to close");
  }

  /** Closes without a DISCONNECT. */
  destroy(): void {
    this.socket.destroy();
  }

  /** Closes when everything that was sent has left. */
  end(): void {
    this.socket.end();
  }

  /** Stops taking bytes, so that the broker's output fills up. */
  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  private useParser(version: Version): void {
    this.version = version;
    this.parser = mqttPacket.parser({ protocolVersion: version });
    this.parser.on("packet", (packet) => {
      this.packets.push(packet);
      this.wake();
    });
    this.parser.on("error", (error: Error) => this.socket.destroy(error));
  }

  private wake(): void {
    const waiting = this.waiting;
    this.waiting = [];
    for (const resolve of waiting) resolve();
  }

  private async until(condition: () => boolean, what: string): Promise<void> {
    const end = Date.now() + deadlineMs;
    while (!condition()) {
      const left = end - Date.now();
      if (left <= 0) throw new Error(`waited ${deadlineMs} ms for ${what}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.waiting.push(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
  }
}

/** Waits for a condition that no packet announces. */
export async function eventually(
  condition: () => boolean,
  what: string,
  withinMs = deadlineMs,
): Promise<void> {
  const end = Date.now() + withinMs;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`waited ${withinMs} ms for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
