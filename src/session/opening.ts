/** A connection on its way to its session. */
import type { Access } from "../auth/acl/access.js";
import type { ClientRule } from "../auth/rules.js";
import type { WillPacket } from "../protocol/packets.js";
import { ReasonCode } from "../protocol/reason-codes.js";
import type { Channel } from "./channel.js";
import type { AttachedSession } from "./remote/near.js";

/** What a CONNECT asks for, after its limits were applied. */
export interface ConnectRequest {
  readonly clientId: string;
  readonly user: string;
  /** What the client may do; null: everything. */
  readonly access: Access | null;
  /** Rules that came with what it authenticated by. */
  readonly rules: readonly ClientRule[] | null;
  readonly clean: boolean;
  readonly expiryMs: number;
  readonly receiveMaximum: number;
  readonly will: WillPacket | null;
}

/** `reason` 0: the connection just closes. */
export type ConnectOutcome =
  | { readonly session: AttachedSession; readonly present: boolean }
  | { readonly session: null; readonly reason: number };

/** No reason code: a connection at another node has found no session here, and begins one where it is. */
export const noSession = -1;

export interface Opening {
  readonly request: ConnectRequest;
  /** A channel of another node's connection takes up a session that there is; a new one begins at the connection's node. */
  readonly channel: Channel;
  readonly epoch: number;
  readonly done: (outcome: ConnectOutcome) => void;
  /** The node, which is down, where there is an older session of that client id: a new one begins. */
  readonly succeeds?: string;
  /** Members that were not up when the claim was granted: nobody may know of sessions that they have. */
  readonly absent: readonly string[];
  /** The client is not greeted: its session has moved, and its connection comes after it. As `Attachment.continues`. */
  readonly continues?: ReadonlySet<number>;
  /** How often its session was found to have moved elsewhere. */
  readonly moves: number;
}

/** What a connection brings to its session. */
export interface Attachment {
  readonly channel: Channel;
  readonly epoch: number;
  readonly expiryMs: number;
  /** Most QoS 1 and 2 messages in flight to this client. */
  readonly receiveMaximum: number;
  readonly will: WillPacket | null;
  /** The session was there before: its client may send again what was not answered. */
  readonly resumed?: boolean;
  /**
   * The connection had the session before, at the node from which that has come: nothing is sent again. The ids of its QoS 2
   * publishes that are open.
   */
  readonly continues?: ReadonlySet<number>;
}

/** What CONNACK says when a claim is refused; 0: the connection just closes. */
export function refusalReason(why: "other-user" | "superseded" | "unavailable"): number {
  switch (why) {
    case "other-user":
      return ReasonCode.NotAuthorized;
    case "unavailable":
      return ReasonCode.ServerUnavailable;
    case "superseded":
      return 0;
  }
}
