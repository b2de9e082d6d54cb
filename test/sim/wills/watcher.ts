/** A client whose session outlives everything, and which writes down what comes of wills. */
import { type Packet, SimConnection } from "../sessions/connection.js";
import type { SessionNode } from "../sessions/node.js";
import type { Life } from "../world/node.js";

export interface Arrival {
  readonly payload: string;
  readonly atMs: number;
}

export class Watcher extends SimConnection {
  readonly arrivals: Arrival[] = [];
  isSubscribed = false;
  private readonly openIds = new Set<number>();

  constructor(life: Life, clientId: string, node: SessionNode) {
    super(life, clientId, 5, node);
  }

  /** How often this came. */
  times(payload: string): number {
    return this.arrivals.filter((one) => one.payload === payload).length;
  }

  /** When this came first; infinite: it did not. */
  firstMs(payload: string): number {
    const found = this.arrivals.find((one) => one.payload === payload);
    return found?.atMs ?? Number.POSITIVE_INFINITY;
  }

  protected override onOpen(): void {
    const { clientId } = this;
    this.send({
      ...{ cmd: "connect", protocolId: "MQTT", protocolVersion: 5, keepalive: 0, clientId },
      ...{ clean: false, properties: { sessionExpiryInterval: 86_400, receiveMaximum: 100 } },
    });
  }

  protected override onPacket(packet: Packet): void {
    const { messageId = 0 } = packet;
    switch (packet.cmd) {
      case "connack":
        this.onConnack(packet.reasonCode ?? 0, packet.sessionPresent);
        return;
      case "suback":
        this.isSubscribed = true;
        return;
      case "pubrel":
        this.openIds.delete(messageId);
        this.send({ cmd: "pubcomp", messageId });
        return;
      case "publish":
        this.onPublish(packet.payload.toString(), packet.qos, messageId);
        return;
      default:
        return;
    }
  }

  protected override onClosed(): void {
    this.comeBackSoon();
  }

  private comeBackSoon(): void {
    this.life.clock.setTimer(200, () => {
      if (this.state === "offline") this.dial();
    });
  }

  private onConnack(reason: number, present: boolean): void {
    if (reason !== 0) {
      this.drop();
      return;
    }
    this.state = "online";
    if (present) return;
    if (this.isSubscribed) this.fault("its session is gone");
    this.send({
      ...{ cmd: "subscribe", messageId: 1 },
      subscriptions: [{ topic: "w/#", qos: 2 }],
    });
  }

  private onPublish(payload: string, qos: number, messageId: number): void {
    const isNew = qos < 2 || !this.openIds.has(messageId);
    if (isNew) this.arrivals.push({ payload, atMs: this.nowMs });
    if (qos === 1) this.send({ cmd: "puback", messageId });
    else if (qos === 2) {
      this.openIds.add(messageId);
      this.send({ cmd: "pubrec", messageId });
    }
  }
}
