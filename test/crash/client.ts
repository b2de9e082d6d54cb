/**
 * A client whose own state outlives everything: it never forgets a packet id, numbers what it publishes
 * 1, 2, 3 … and checks the numbers that it gets. What it is told and what it sees are held against each
 * other by crash.ts.
 */
import { connect, type Socket } from "node:net";
import mqttPacket from "mqtt-packet";

export interface Will {
  readonly topic: string;
  readonly payload: string;
  readonly qos: 1 | 2;
}

export interface CrashClientOptions {
  readonly clientId: string;
  readonly version: 4 | 5;
  /** It asks for a session that outlives the connection. */
  readonly persistent: boolean;
}

const answerDeadlineMs = 20_000;

export class CrashClient {
  /** What went wrong, in words. */
  readonly faults: string[] = [];
  /** Connected and greeted. */
  isOnline = false;
  /** A CONNACK has accepted it before, so its session must be there from then on. */
  protected hasSession = false;
  private socket: Socket | null = null;

  constructor(readonly options: CrashClientOptions) {}

  get clientId(): string {
    return this.options.clientId;
  }

  /** Connects and sends again what was not answered. False: the broker went away meanwhile. */
  async connect(port: number, will: Will | null = null): Promise<boolean> {
    const { clientId, version, persistent } = this.options;
    const socket = connect({ port, host: "127.0.0.1", noDelay: true });
    this.socket = socket;
    socket.on("error", () => undefined);
    const parser = mqttPacket.parser({ protocolVersion: version });
    socket.on("data", (chunk) => void parser.parse(chunk));
    const greeted = new Promise<boolean>((resolve) => {
      const timer = setTimeout(() => {
        this.faults.push(`${clientId}: no CONNACK in ${answerDeadlineMs} ms`);
        socket.destroy();
      }, answerDeadlineMs);
      socket.on("close", () => {
        clearTimeout(timer);
        if (this.socket === socket) this.isOnline = false;
        resolve(false);
      });
      parser.on("packet", (packet) => {
        if (this.socket !== socket) return;
        if (packet.cmd === "connack") {
          clearTimeout(timer);
          this.onConnack(packet);
          resolve(true);
        } else this.onPacket(packet);
      });
      parser.on("error", (error: Error) => {
        this.faults.push(`${clientId}: got bytes that are no packet: ${error.message}`);
      });
    });
    const expiry = version === 5 && persistent ? { sessionExpiryInterval: 86_400 } : {};
    this.send({
      ...{ cmd: "connect", protocolId: "MQTT", protocolVersion: version, keepalive: 0 },
      ...{ clientId, clean: version === 5 ? !persistent || !this.hasSession : !persistent },
      properties: version === 5 ? { ...expiry, receiveMaximum: 65_535 } : {},
      ...(will === null
        ? {}
        : { will: { ...will, payload: Buffer.from(will.payload), retain: false } }),
    });
    return await greeted;
  }

  /** Ends the connection: with a DISCONNECT, or as if the network had gone. */
  disconnect(politely = true): void {
    if (politely && this.isOnline) this.send({ cmd: "disconnect" });
    if (politely) this.socket?.end();
    else this.socket?.destroy();
    this.socket = null;
    this.isOnline = false;
  }

  /** Leaves with a DISCONNECT; resolves when the broker has closed the connection, and so has read that. */
  async leave(): Promise<void> {
    const { socket } = this;
    this.disconnect();
    if (socket === null || socket.closed) return;
    await new Promise<void>((resolve) => void socket.once("close", () => resolve()));
  }

  protected send(packet: mqttPacket.Packet): void {
    const { version } = this.options;
    const bytes = mqttPacket.generate(packet, { protocolVersion: version });
    if (this.socket !== null && !this.socket.destroyed) this.socket.write(bytes);
  }

  protected onGreeted(): void {}

  protected onPacket(_packet: mqttPacket.Packet): void {}

  private onConnack(packet: mqttPacket.IConnackPacket): void {
    const code = packet.reasonCode ?? packet.returnCode;
    if (code !== 0) {
      this.faults.push(`${this.clientId}: CONNACK ${code}`);
      return;
    }
    const expected = this.options.persistent && this.hasSession;
    if (packet.sessionPresent !== expected) {
      this.faults.push(`${this.clientId}: session present ${packet.sessionPresent}`);
    }
    this.hasSession = true;
    this.isOnline = true;
    this.onGreeted();
  }
}

export interface PublisherOptions extends CrashClientOptions {
  readonly qos: 1 | 2;
  readonly window: number;
  readonly topicOf: (number: number) => string;
  readonly retain: boolean;
  /** Its session is at another node than its connection, so that it may be told 0x9C *use another server*. */
  readonly isRemote?: boolean;
}

const useAnotherServer = 0x9c;

interface Unanswered {
  readonly number: number;
  isReleased: boolean;
}

/** Publishes numbers, in order, and repeats what was not answered. */
export class Publisher extends CrashClient {
  /** The highest number sent, and the numbers up to which all were acknowledged. */
  sent = 0;
  acknowledged = 0;
  isPublishing = false;
  private nextId = 1;
  private readonly unanswered = new Map<number, Unanswered>();

  constructor(readonly publishing: PublisherOptions) {
    super(publishing);
  }

  get isSettled(): boolean {
    return this.unanswered.size === 0;
  }

  publishMore(): void {
    const { window } = this.publishing;
    while (this.isOnline && this.isPublishing && this.unanswered.size < window) {
      const id = this.nextId;
      this.nextId = (id % 65_535) + 1;
      this.unanswered.set(id, { number: ++this.sent, isReleased: false });
      this.publish(id, this.sent, false);
    }
  }

  protected override onGreeted(): void {
    for (const [id, { number, isReleased }] of this.unanswered) {
      if (isReleased) this.send({ cmd: "pubrel", messageId: id });
      else this.publish(id, number, true);
    }
    this.publishMore();
  }

  protected override onPacket(packet: mqttPacket.Packet): void {
    if (packet.cmd === "disconnect") {
      if (this.publishing.isRemote !== true || packet.reasonCode !== useAnotherServer) {
        this.faults.push(`${this.clientId}: DISCONNECT ${packet.reasonCode}`);
      }
      return;
    }
    if (packet.cmd !== "puback" && packet.cmd !== "pubrec" && packet.cmd !== "pubcomp") return;
    const id = packet.messageId ?? 0;
    const waiting = this.unanswered.get(id);
    if (waiting === undefined) return;
    const reason = packet.reasonCode ?? 0;
    if (reason >= 0x80 && packet.cmd !== "pubcomp") {
      this.faults.push(`${this.clientId}: ${packet.cmd} of ${waiting.number} with ${reason}`);
    }
    if (packet.cmd !== "pubcomp") {
      this.acknowledged = Math.max(this.acknowledged, waiting.number);
    }
    if (packet.cmd === "pubrec") {
      waiting.isReleased = true;
      this.send({ cmd: "pubrel", messageId: id });
      return;
    }
    this.unanswered.delete(id);
    this.publishMore();
  }

  private publish(id: number, number: number, dup: boolean): void {
    const { qos, topicOf, retain } = this.publishing;
    const payload = `${this.clientId} ${number} ${"x".repeat(number % 200)}`;
    const topic = topicOf(number);
    this.send({ cmd: "publish", topic, payload, qos, dup, retain, messageId: id });
  }
}

/** What one subscriber has of one publisher. */
interface Taken {
  last: number;
  repeated: number;
  /** Numbers that others have overtaken. */
  readonly missing: Set<number>;
}

/** Takes messages and sees at once when one is missing, out of order, or there twice. */
export class Subscriber extends CrashClient {
  readonly taken = new Map<string, Taken>();
  protected how = "";
  private readonly openIds = new Set<number>();
  private onSuback: (() => void) | null = null;

  /** By number of its publisher; 0: nothing yet. */
  lastOf(publisher: string): number {
    return this.taken.get(publisher)?.last ?? 0;
  }

  async subscribe(filter: string): Promise<void> {
    const done = new Promise<void>((resolve) => {
      this.onSuback = resolve;
    });
    const subscriptions = [{ topic: filter, qos: 2 as const }];
    this.send({ cmd: "subscribe", messageId: 1, subscriptions });
    await done;
  }

  protected override onPacket(packet: mqttPacket.Packet): void {
    if (packet.cmd === "suback") this.onSuback?.();
    else if (packet.cmd === "publish") this.onPublish(packet);
    else if (packet.cmd === "pubrel") {
      this.openIds.delete(packet.messageId ?? 0);
      this.send({ cmd: "pubcomp", messageId: packet.messageId ?? 0 });
    }
  }

  protected take(_topic: string, payload: string, qos: number): void {
    const [publisher = "", text = ""] = payload.split(" ");
    const number = Number(text);
    let taken = this.taken.get(publisher);
    if (taken === undefined)
      this.taken.set(publisher, (taken = { last: 0, repeated: 0, missing: new Set() }));
    if (number === taken.last + 1) taken.last = number;
    else if (number > taken.last) {
      this.faults.push(`${this.clientId}: ${publisher} ${number} after ${taken.last}, QoS ${qos}`);
      for (let lost = taken.last + 1; lost < number; lost++) taken.missing.add(lost);
      taken.last = number;
    } else if (taken.missing.delete(number)) {
      this.faults.push(`${this.clientId}: ${publisher} ${number} came after ${taken.last}`);
    } else if (qos === 2) {
      this.faults.push(`${this.clientId}: ${publisher} ${number} again at QoS 2${this.how}`);
    } else taken.repeated++;
  }

  private onPublish({ topic, payload, qos, dup, messageId = 0 }: mqttPacket.IPublishPacket): void {
    if (qos === 2) {
      if (!this.openIds.has(messageId)) {
        this.how = ` id ${messageId} dup ${dup}`;
        this.take(topic, payload.toString(), qos);
      }
      this.openIds.add(messageId);
      this.send({ cmd: "pubrec", messageId });
      return;
    }
    this.take(topic, payload.toString(), qos);
    if (qos === 1) this.send({ cmd: "puback", messageId });
  }
}

/** Keeps the payloads that it gets, by topic. */
export class Watcher extends Subscriber {
  readonly payloads = new Map<string, string[]>();

  protected override take(topic: string, payload: string): void {
    const before = this.payloads.get(topic);
    if (before === undefined) this.payloads.set(topic, [payload]);
    else before.push(payload);
  }
}
