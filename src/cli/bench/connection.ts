/**
 * One client connection of the load generator: opens the socket, does CONNECT and SUBSCRIBE, hands
 * the messages of each read to its role, and collects the acknowledgements of a read into one write.
 * A connection that ends before `close` was called is reported once, with the reason.
 */
import { connect, isIP, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import {
  encodeConnect,
  encodeDisconnect,
  encodeSubscribe,
  FrameReader,
  type Login,
  type MqttVersion,
  type PacketSink,
  type Qos,
  receiveMaximum,
  type,
  WireError,
} from "./wire.js";

/** Publisher or subscriber: takes the messages and acknowledgements of its connection. */
export interface Role extends PacketSink {
  /** All packets of one read were handed over. */
  endOfRead(): void;
}

export interface Address {
  readonly host: string;
  readonly port: number;
  /** Of a Unix socket, in place of both. */
  readonly path?: string;
}

/** How the server's certificate is checked. */
export interface TlsSettings {
  /** Authorities that sign it, in PEM; null: those that Node knows. */
  readonly ca: Buffer | null;
  /** False: any certificate will do. */
  readonly verify: boolean;
}

export interface ConnectionOptions {
  readonly address: Address;
  readonly clientId: string;
  readonly version: MqttVersion;
  readonly login: Login | null;
  /** The session outlives the connection. */
  readonly persistent: boolean;
  /** Null: plain TCP. */
  readonly tls: TlsSettings | null;
  /** May be shared: what is read is consumed before the next read. */
  readonly readBuffer: Buffer;
  /** Called once when the connection ends though nobody closed it. */
  readonly onLost: (error: Error) => void;
}

interface Waiter {
  readonly packetType: number;
  resolve(body: Uint8Array): void;
  reject(error: Error): void;
}

export class Connection {
  readonly socket: Socket;
  private readonly reader: FrameReader;
  private waiter: Waiter | undefined;
  private acks = new Uint8Array(1024);
  private ackBytes = 0;
  private ended = false;

  constructor(
    private readonly options: ConnectionOptions,
    private readonly role: Role,
  ) {
    const v5 = options.version === 5;
    this.reader = new FrameReader(role, (kind, body) => this.onOther(kind, body), v5);
    this.socket = openSocket(options, (length, bytes) => this.onRead(length, bytes));
    this.socket.on("error", (error) => this.lose(error.message));
    this.socket.on("close", () => this.lose("closed by the broker"));
  }

  /** CONNECT; resolves with the broker's receive maximum. */
  async open(): Promise<number> {
    const { clientId, version, login, persistent } = this.options;
    const request = encodeConnect(clientId, version, login, persistent);
    const body = await this.ask(request, type.connack);
    if (body[1] !== 0) throw new WireError(`CONNACK refused: code ${body[1]}`);
    return version === 5 ? receiveMaximum(body) : 0xffff;
  }

  async subscribe(filter: string, qos: Qos): Promise<void> {
    const body = await this.ask(
      encodeSubscribe(filter, qos, this.options.version === 5),
      type.suback,
    );
    const granted = body.at(-1);
    if (granted !== qos) throw new WireError(`SUBACK: asked for QoS ${qos}, got ${granted}`);
  }

  /** Adds an acknowledgement to those that `sendAcks` writes. */
  queueAck(firstByte: number, packetId: number): void {
    const at = this.ackBytes;
    if (at + 4 > this.acks.length) {
      const larger = new Uint8Array(this.acks.length * 2);
      larger.set(this.acks);
      this.acks = larger;
    }
    this.acks[at] = firstByte;
    this.acks[at + 1] = 2;
    this.acks[at + 2] = packetId >> 8;
    this.acks[at + 3] = packetId;
    this.ackBytes = at + 4;
  }

  hasAcks(): boolean {
    return this.ackBytes > 0;
  }

  /** Writes the collected acknowledgements at once. */
  sendAcks(): void {
    if (this.ackBytes === 0) return;
    // A copy: the socket may keep what it is given beyond the next read.
    this.socket.write(Buffer.from(this.acks.subarray(0, this.ackBytes)));
    this.ackBytes = 0;
  }

  close(): void {
    if (!this.ended) this.socket.end(encodeDisconnect());
    this.ended = true;
  }

  /** Closes at once, without DISCONNECT. */
  destroy(): void {
    this.ended = true;
    this.socket.destroy();
  }

  private ask(request: Buffer, packetType: number): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      this.waiter = { packetType, resolve, reject };
      this.socket.write(request);
    });
  }

  private onRead(length: number, bytes: Uint8Array): boolean {
    if (this.ended) return true;
    try {
      this.reader.read(bytes, length);
      this.role.endOfRead();
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.lose(error.message);
    }
    return true;
  }

  private onOther(packetType: number, body: Uint8Array): void {
    const waiter = this.waiter;
    if (waiter?.packetType === packetType) {
      this.waiter = undefined;
      waiter.resolve(Uint8Array.from(body)); // the body is a view of the read buffer
    } else if (packetType === type.disconnect) {
      throw new WireError(`the broker sent DISCONNECT, reason 0x${(body[0] ?? 0).toString(16)}`);
    } else throw new WireError(`unexpected packet type ${packetType}`);
  }

  private lose(reason: string): void {
    if (this.ended) return;
    this.ended = true;
    this.socket.destroy();
    const { clientId, address, onLost } = this.options;
    const error = new Error(`${clientId} at ${address.host}:${address.port}: ${reason}`);
    this.waiter?.reject(error);
    onLost(error);
  }
}

type OnRead = (length: number, bytes: Uint8Array) => boolean;

/** A socket that reads into the shared buffer. */
function openSocket({ address, tls, readBuffer }: ConnectionOptions, onRead: OnRead): Socket {
  const { host, port, path } = address;
  const onread = { buffer: readBuffer, callback: onRead };
  if (path !== undefined) return connect({ path, onread });
  if (tls === null) return connect({ host, port, noDelay: true, onread });
  const socket = connectTls({
    ...{ host, port, onread, rejectUnauthorized: tls.verify },
    ...(tls.ca === null ? {} : { ca: tls.ca }),
    // An address is no name to ask for.
    ...(isIP(host) === 0 ? { servername: host } : {}),
  });
  socket.setNoDelay(true);
  return socket;
}
