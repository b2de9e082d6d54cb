/** One connection of a client that has a will, from its CONNECT to its end, as the client sees it. */
import type { Qos } from "../../../src/protocol/publish.js";
import { type Packet, SimConnection } from "../sessions/connection.js";
import type { SessionNode } from "../sessions/node.js";
import type { Life } from "../world/node.js";

/** Who the client is, always. */
export interface MortalOptions {
  readonly clientId: string;
  readonly version: 4 | 5;
  /** Of its wills, and of what it publishes. */
  readonly qos: Qos;
  /** How long its sessions outlive their connections, in seconds. */
  readonly expirySeconds: number;
}

export interface StayOptions extends MortalOptions {
  /** Counts the connections of the client. */
  readonly number: number;
  readonly delaySeconds: number;
  /** Of the will's message; null: it does not expire. */
  readonly messageExpirySeconds: number | null;
  readonly cleanStart: boolean;
}

const never = Number.POSITIVE_INFINITY;

export const willTopic = (clientId: string): string => `w/${clientId}`;

export class Stay extends SimConnection {
  /** When CONNECT left, and CONNACK came. */
  askedMs = never;
  connectedMs = never;
  endedMs = never;
  /** `goodbye`: by a DISCONNECT that discards the will; `last words`: by one that does not. */
  end: "goodbye" | "last words" | "lost" | null = null;
  present = false;

  constructor(
    life: Life,
    node: SessionNode,
    readonly options: StayOptions,
  ) {
    super(life, options.clientId, options.version, node);
  }

  /** What its will says. */
  get will(): string {
    return `will ${this.clientId} ${this.options.number}`;
  }

  /** What it publishes when it is connected. */
  get marker(): string {
    return `here ${this.clientId} ${this.options.number}`;
  }

  /** How long after its end the will is due. */
  get delayMs(): number {
    const { delaySeconds, expirySeconds } = this.options;
    return 1000 * Math.min(delaySeconds, expirySeconds);
  }

  /** Without a word: the connection is lost. */
  lose(): void {
    this.drop();
  }

  leave(end: "goodbye" | "last words"): void {
    if (this.state !== "online") return;
    this.end = end;
    const isLast = end === "last words" && this.version === 5;
    this.send(isLast ? { cmd: "disconnect", reasonCode: 4 } : { cmd: "disconnect" });
    if (!isLast) this.end = "goodbye";
    this.drop(true);
  }

  protected override onOpen(): void {
    const { version, clientId, will } = this;
    const { qos, expirySeconds, delaySeconds, messageExpirySeconds, cleanStart } = this.options;
    this.askedMs = this.nowMs;
    const expiry =
      messageExpirySeconds === null ? {} : { messageExpiryInterval: messageExpirySeconds };
    const willProperties = { willDelayInterval: delaySeconds, ...expiry };
    const text = { topic: willTopic(clientId), payload: Buffer.from(will), qos, retain: false };
    this.send({
      ...{ cmd: "connect", protocolId: "MQTT", protocolVersion: version, keepalive: 0, clientId },
      ...(version === 5
        ? {
            clean: cleanStart,
            properties: { sessionExpiryInterval: expirySeconds },
            will: { ...text, properties: willProperties },
          }
        : { clean: expirySeconds === 0, will: text }),
    });
  }

  protected override onPacket(packet: Packet): void {
    switch (packet.cmd) {
      case "connack":
        this.onConnack(packet.reasonCode ?? packet.returnCode ?? 0, packet.sessionPresent);
        return;
      case "pubrec":
        this.send({ cmd: "pubrel", messageId: packet.messageId ?? 0 });
        return;
      default:
        return;
    }
  }

  protected override onClosed(): void {
    this.endedMs = this.nowMs;
    this.end ??= "lost";
  }

  private onConnack(reason: number, present: boolean): void {
    if (reason !== 0) {
      this.drop();
      return;
    }
    this.present = present;
    this.connectedMs = this.nowMs;
    this.state = "online";
    const { clientId, marker, options } = this;
    const topic = willTopic(clientId);
    // Its packet id is not used again: what a session keeps of it is of no matter.
    const messageId = options.number;
    const { qos } = options;
    this.send({
      cmd: "publish",
      topic,
      payload: marker,
      qos,
      dup: false,
      retain: false,
      messageId,
    });
  }
}
