/**
 * Clients for long backlogs: they number what they publish 1, 2, 3 … and note of each number how often it came, and in which
 * order. Quick enough that the brokers are what takes the time.
 */
import { connect, type Socket } from "node:net";
import {
  encodeConnect,
  encodePublish,
  encodeSubscribe,
  FrameReader,
  head,
  readUint32,
  type PacketSink,
  type PublishFrame,
  type Qos,
  type,
  writeUint32,
} from "../../src/cli/bench/wire.js";

/** Publisher and number, at the beginning of each payload. */
const numberAt = 4;

/** A client that speaks MQTT bytes on one connection at a time. */
abstract class BacklogClient implements PacketSink {
  isConnected = false;
  /** Of the newest CONNACK. */
  isSessionPresent = false;
  private socket: Socket | null = null;
  private answers: number[] = [];
  private onAnswer: ((packetType: number, body: Uint8Array) => void) | null = null;

  constructor(
    readonly clientId: string,
    private readonly version: 4 | 5,
    private readonly keeps: boolean,
  ) {}

  async connect(port: number): Promise<void> {
    const socket = connect({ port, host: "127.0.0.1", noDelay: true });
    this.socket = socket;
    const isFive = this.version === 5;
    const reader = new FrameReader(this, (kind, body) => this.onAnswer?.(kind, body), isFive);
    socket.on("data", (bytes: Buffer) => {
      if (this.socket !== socket) return;
      reader.read(bytes, bytes.length);
      this.afterRead();
      this.flush();
    });
    socket.on("error", () => undefined);
    socket.on("close", () => {
      if (this.socket === socket) this.isConnected = false;
    });
    const connack = this.answer(type.connack);
    socket.write(encodeConnect(this.clientId, this.version, null, this.keeps));
    const body = await connack;
    if (body[1] !== 0) throw new Error(`${this.clientId}: CONNACK ${body[1]}`);
    this.isSessionPresent = body[0] === 1;
    this.isConnected = true;
  }

  /** The body of the next packet of that type; rejects when the connection closes before. */
  protected answer(packetType: number): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      this.socket?.once("close", () => reject(new Error(`${this.clientId}: closed`)));
      this.onAnswer = (kind, body) => {
        if (kind === packetType) resolve(Uint8Array.from(body));
        else reject(new Error(`${this.clientId}: packet of type ${kind}`));
      };
    });
  }

  disconnect(): void {
    this.socket?.destroy();
    this.socket = null;
    this.isConnected = false;
  }

  protected write(bytes: Uint8Array): void {
    this.socket?.write(bytes);
  }

  protected acknowledge(first: number, packetId: number): void {
    this.answers.push(first, 2, packetId >> 8, packetId & 255);
  }

  private flush(): void {
    if (this.answers.length > 0) this.socket?.write(Buffer.from(this.answers));
    this.answers = [];
  }

  abstract publish(
    bytes: Uint8Array,
    payloadAt: number,
    length: number,
    qos: number,
    id: number,
  ): void;
  abstract ack(packetType: number, packetId: number, reason: number): void;
  protected abstract afterRead(): void;
}

export interface PublishingOptions {
  /** Place among all publishers. */
  readonly index: number;
  readonly qos: 1 | 2;
  readonly count: number;
  readonly window: number;
  readonly payloadBytes: number;
}

/** Publishes its numbers to `backlog/<index>` as fast as they are answered. */
export class Publisher extends BacklogClient {
  sent = 0;
  answered = 0;
  /** Numbers that the broker has refused, a limit being reached. */
  readonly refused = new Set<number>();
  private nextId = 0;
  /** By packet id. */
  private readonly numbers = new Map<number, number>();
  private readonly frame: PublishFrame;
  private inFlight = 0;
  private last = 0;

  constructor(readonly options: PublishingOptions) {
    super(`publisher-${options.index}`, 5, false);
    const { index, qos, payloadBytes } = options;
    this.frame = encodePublish(`backlog/${index}`, qos, payloadBytes, true);
    writeUint32(this.frame.bytes, this.frame.payloadAt, index);
  }

  get isDone(): boolean {
    return this.answered === this.options.count;
  }

  /** It publishes its numbers up to this one for now. */
  publishTo(number: number): void {
    this.last = Math.floor(number);
    this.afterRead();
  }

  override publish(): void {
    throw new Error("a publisher is not subscribed");
  }

  override ack(packetType: number, packetId: number, reason: number): void {
    if (packetType === type.pubrec && reason < 0x80) {
      this.acknowledge(head.pubrel, packetId);
      return;
    }
    const number = this.numbers.get(packetId);
    if (number === undefined) return;
    if (reason >= 0x80) this.refused.add(number);
    this.numbers.delete(packetId);
    this.inFlight--;
    this.answered++;
  }

  protected override afterRead(): void {
    if (!this.isConnected) return;
    const { last } = this;
    const { window } = this.options;
    const { bytes, packetIdAt, payloadAt } = this.frame;
    const frames: Uint8Array[] = [];
    while (this.inFlight < window && this.sent < last) {
      this.nextId = (this.nextId % 65_535) + 1;
      this.numbers.set(this.nextId, ++this.sent);
      bytes[packetIdAt] = this.nextId >> 8;
      bytes[packetIdAt + 1] = this.nextId & 255;
      writeUint32(bytes, payloadAt + numberAt, this.sent);
      frames.push(Uint8Array.from(bytes));
      this.inFlight++;
    }
    if (frames.length > 0) this.write(Buffer.concat(frames));
  }
}

/** What a subscriber has of one publisher. */
export class Taken {
  /** How often each number came. */
  readonly times: Uint8Array;
  /** Numbers that came at least once. */
  distinct = 0;
  /** Times that one came again. */
  repeated = 0;
  /** The lowest and the highest of those. */
  repeatedFrom = 0;
  repeatedTo = 0;
  /** Numbers that came after a higher one, and so did not come in one run. */
  late = 0;
  /** Numbers that came neither behind the highest nor behind the one that was late before. */
  disordered = 0;
  /** The first number that came. */
  first = 0;
  highest = 0;
  private lastLate = 0;

  constructor(count: number) {
    this.times = new Uint8Array(count + 1);
  }

  take(number: number): void {
    const before = this.times[number] ?? 0;
    this.times[number] = before + 1;
    if (before > 0) {
      if (this.repeated++ === 0) this.repeatedFrom = number;
      this.repeatedFrom = Math.min(this.repeatedFrom, number);
      this.repeatedTo = Math.max(this.repeatedTo, number);
      return;
    }
    this.distinct++;
    if (this.first === 0) this.first = number;
    if (number > this.highest) this.highest = number;
    else {
      this.late++;
      if (number < this.lastLate) this.disordered++;
      this.lastLate = number;
    }
  }
}

/** Takes all and acknowledges it, in a session that is kept. */
export class Subscriber extends BacklogClient {
  readonly taken: readonly Taken[];
  received = 0;
  /** Of QoS 2, by packet id: the publisher and number of what has begun to come. */
  readonly open = new Map<number, { readonly publisher: number; readonly number: number }>();

  constructor(clientId: string, publishers: readonly Publisher[]) {
    super(clientId, 4, true);
    this.taken = publishers.map(({ options }) => new Taken(options.count));
  }

  async subscribe(filter: string, qos: Qos): Promise<void> {
    const suback = this.answer(type.suback);
    this.write(encodeSubscribe(filter, qos, false));
    const body = await suback;
    if (body[2] !== qos) throw new Error(`${this.clientId}: SUBACK ${body[2]}`);
  }

  /** Its session is another one from now on: what had begun to come is of no use. */
  forget(): void {
    this.open.clear();
  }

  override publish(
    bytes: Uint8Array,
    payloadAt: number,
    length: number,
    qos: number,
    id: number,
  ): void {
    if (length < numberAt * 2) throw new Error(`${this.clientId}: a payload of ${length} bytes`);
    const publisher = readUint32(bytes, payloadAt);
    const number = readUint32(bytes, payloadAt + numberAt);
    if (qos === 2) {
      this.acknowledge(head.pubrec, id);
      if (this.open.has(id)) return;
      this.open.set(id, { publisher, number });
    } else if (qos === 1) this.acknowledge(head.puback, id);
    this.received++;
    this.taken[publisher]?.take(number);
  }

  override ack(packetType: number, packetId: number): void {
    if (packetType !== type.pubrel) return;
    this.open.delete(packetId);
    this.acknowledge(head.pubcomp, packetId);
  }

  protected override afterRead(): void {}
}
