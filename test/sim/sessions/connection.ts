/** The network side of a simulated client: one connection at a time, packets in and out. */
import mqttPacket from "mqtt-packet";
import type { Pipe } from "../../../src/cluster/transport.js";
import type { Life } from "../world/node.js";
import { mqttPort, type SessionNode } from "./node.js";

export type Packet = mqttPacket.Packet;

export abstract class SimConnection {
  /** What went wrong, in words. */
  readonly faults: string[] = [];
  state: "offline" | "dialling" | "greeting" | "online" = "offline";
  /** Grows with each connection. */
  connections = 0;
  /** When the last connection ended. */
  lastClosedMs = Number.NEGATIVE_INFINITY;
  /** Its connections: at which node each was, and from when to when, as it saw that itself. */
  readonly stays: { readonly node: SessionNode; readonly openedMs: number; closedMs: number }[] =
    [];
  /** Something was sent or came. */
  lastActiveMs = 0;
  private pipe: Pipe | null = null;

  constructor(
    readonly life: Life,
    readonly clientId: string,
    readonly version: 4 | 5,
    /** The node that it connects to, next time or now. */
    public node: SessionNode,
  ) {}

  get nowMs(): number {
    return this.life.clock.monotonicMs();
  }

  /** Gives up the connection that there is, and makes another. */
  dial(): void {
    this.drop();
    this.state = "dialling";
    const number = ++this.connections;
    this.life.transport.dial(this.node.host, mqttPort, (pipe) => {
      const isCurrent = this.connections === number && this.state === "dialling";
      if (typeof pipe === "string") {
        if (isCurrent) this.closed();
      } else if (isCurrent) this.open(pipe);
      else pipe.destroy();
    });
  }

  /** Ends it: what was written still leaves (`politely`), or may be lost. */
  drop(politely = false): void {
    const { pipe } = this;
    this.pipe = null;
    if (politely) pipe?.close();
    else pipe?.destroy();
    if (this.state !== "offline") this.closed();
  }

  send(packet: Packet): void {
    this.lastActiveMs = this.nowMs;
    this.note("sends", packet);
    this.pipe?.write(mqttPacket.generate(packet, { protocolVersion: this.version }));
  }

  fault(what: string): void {
    this.faults.push(`${this.clientId}: ${what}`);
  }

  protected abstract onOpen(): void;
  protected abstract onPacket(packet: Packet): void;
  protected abstract onClosed(): void;

  private open(pipe: Pipe): void {
    this.pipe = pipe;
    this.state = "greeting";
    const closedMs = Number.POSITIVE_INFINITY;
    this.stays.push({ node: this.node, openedMs: this.nowMs, closedMs });
    const parser = mqttPacket.parser({ protocolVersion: this.version });
    parser.on("packet", (packet) => {
      if (this.pipe !== pipe) return;
      this.lastActiveMs = this.nowMs;
      this.note("gets", packet);
      this.onPacket(packet);
    });
    parser.on("error", (error: Error) => this.fault(`bytes that are no packet: ${error.message}`));
    pipe.onData = (bytes) => void parser.parse(bytes);
    pipe.onClose = () => {
      if (this.pipe !== pipe) return;
      this.pipe = null;
      this.closed();
    };
    this.onOpen();
  }

  private closed(): void {
    this.state = "offline";
    this.lastClosedMs = this.nowMs;
    const stay = this.stays.at(-1);
    if (stay !== undefined) stay.closedMs = Math.min(stay.closedMs, this.nowMs);
    this.life.trace.note(`${this.clientId} is offline`);
    this.onClosed();
  }

  private note(verb: string, packet: Packet): void {
    const { cmd, messageId } = packet;
    const id = messageId === undefined ? "" : ` ${messageId}`;
    const more =
      packet.cmd === "publish"
        ? ` ${packet.payload.toString()} q${packet.qos}${packet.dup ? " dup" : ""} ${packet.topic}`
        : packet.cmd === "connect"
          ? ` clean ${packet.clean}, session ends after ${packet.properties?.sessionExpiryInterval ?? "-"}`
          : packet.cmd === "connack"
            ? ` ${packet.reasonCode ?? packet.returnCode} present ${packet.sessionPresent}`
            : packet.cmd === "subscribe"
              ? ` ${packet.subscriptions.map(({ topic, qos }) => `${topic} q${qos}`).join()}`
              : packet.cmd === "unsubscribe"
                ? ` ${packet.unsubscriptions.join()}`
                : "reasonCode" in packet && packet.reasonCode
                  ? ` reason ${packet.reasonCode}`
                  : "";
    this.life.trace.note(`${this.clientId} ${verb} ${cmd}${id}${more}`);
  }
}
