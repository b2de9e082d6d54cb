/**
 * The pipe between a session and its connection. A session knows nothing else of the network; the local
 * channel is the connection itself (net/connection.ts), by direct calls.
 */
import type { AckType } from "../protocol/acks.js";
import type { Qos } from "../protocol/publish.js";
import type { Message } from "../routing/message.js";
import type { PublishRun } from "../routing/publish-run.js";

/** What a listing tells of a connection. */
export interface ChannelInfo {
  readonly address: string;
  /** 3 (MQTT 3.1), 4 (3.1.1) or 5. */
  readonly version: number;
  readonly keepAliveSeconds: number;
  readonly connectedAtMs: number;
  /** What the client has not taken yet, of what was sent. */
  readonly waitingBytes: number;
  /** Longest packet that the client takes. */
  readonly packetMax: number;
  /** What is sent by `publish` is changed for this client: by topic aliases, or a mount point. */
  readonly takesMessages: boolean;
}

export interface Channel {
  readonly version: number;
  /** The node where the connection is, if it is another one. */
  readonly node: string | null;
  /** More waits to be sent than `limits.connection_output_bytes`; `Session.pump` follows. */
  readonly congested: boolean;
  readonly isOpen: boolean;
  /** Its client has gone before its CONNACK, and what it had sent is not handled yet. */
  readonly hasLeft?: boolean;
  /** A publish of the client was refused, which has no word for that: it is not answered on this connection. */
  readonly hasWithheld: boolean;
  /** Nothing leaves to the client for now (it is congested), or again. */
  silence(isSilent: boolean): void;
  info(): ChannelInfo;
  /**
   * Sends a PUBLISH; with QoS 0 (packet id 0) it is dropped and counted when the channel is congested.
   * False: it is larger than this client accepts [MQTT-3.1.2-24, MQTT-3.1.2-25], or outside of its mount
   * point, and was not sent.
   */
  publish(
    message: Message,
    qos: Qos,
    retain: boolean,
    packetId: number,
    subscriptionIds: readonly number[] | null,
  ): boolean;
  /**
   * Sends all publishes of a run, under ids from `packetId` on (0 with QoS 0) that do not wrap around. False, or
   * without this method: nothing was sent, each is to be sent by itself.
   */
  publishRun?(run: PublishRun, packetId: number): boolean;
  /** Sends a PUBLISH once more, with DUP set [MQTT-3.3.1-1]. */
  republish(
    message: Message,
    qos: Qos,
    retain: boolean,
    packetId: number,
    subscriptionIds: readonly number[] | null,
  ): boolean;
  /** Sends PUBREC, PUBREL or PUBCOMP; `reason` goes to MQTT 5 clients only. */
  acknowledge(type: AckType, packetId: number, reason: number): void;
  /** Sends a whole packet. */
  send(packet: Buffer): void;
  /** Sends packets that another node has made for this client; the bytes stay as they are. */
  passOn(bytes: Buffer, start: number, end: number): void;
  /** The session was backlogged and takes requests again. */
  readOn(): void;
  /** The session is about to move: reads the client no more. Calls back when all that was read is with the session. */
  hold(done: () => void): void;
  /** The session stays: reads the client again. */
  release(): void;
  /** The session is at `node` now, at that epoch, and this is its channel no more: the connection attaches to it there. */
  moved(node: string, epoch: number): void;
  /** Closes the connection with a reason; the session is detached before this returns. */
  close(reason: number): void;
}
