/**
 * Enhanced authentication of one connection [MQTT5 4.12]: the exchange that its CONNECT began, and later
 * ones that the client begins while everything else goes on. One exchange at a time, one method for the
 * whole connection.
 */
import type { Authenticator } from "../../auth/authenticator.js";
import type { Exchange } from "../../auth/exchange.js";
import { type AuthPacket, encodeAuth } from "../../protocol/auth-packet.js";
import { ProtocolError } from "../../protocol/protocol-error.js";
import { ReasonCode } from "../../protocol/reason-codes.js";
import type { Channel } from "../channel.js";

/** What the exchange of a CONNECT came to; `data` goes with CONNACK. `user` null: refused. */
export interface Authenticated {
  readonly user: string | null;
  readonly data: Buffer;
}

export class EnhancedAuth {
  private exchange: Exchange | null;
  /** Null until the first exchange went well. */
  private user: string | null = null;

  /** `onAuthenticated` is called once, when the first exchange is over. */
  constructor(
    readonly method: string,
    first: Exchange,
    private readonly authenticator: Authenticator,
    private readonly channel: Channel,
    private readonly onAuthenticated: (result: Authenticated) => void,
  ) {
    this.exchange = first;
  }

  /** It is the client's turn, and CONNACK waits for it. */
  get awaitsClient(): boolean {
    return this.user === null && this.exchange !== null;
  }

  /**
   * Takes an AUTH of the client.
   * @throws ProtocolError protocol error: another method than that of CONNECT [MQTT-4.12.0-5,
   *   MQTT-4.12.1-1], a reason code that is not due
   */
  onPacket(packet: AuthPacket): void {
    if (packet.method !== this.method) throw unexpected("another authentication method");
    switch (packet.reason) {
      case ReasonCode.ContinueAuthentication:
        if (this.exchange === null) throw unexpected("no authentication is under way");
        break;
      case ReasonCode.ReAuthenticate:
        if (this.exchange !== null || this.user === null) {
          throw unexpected("an authentication is under way");
        }
        this.exchange = this.authenticator.begin(this.method);
        break;
      default:
        throw unexpected("a reason code that no client sends");
    }
    this.step(packet.data);
  }

  /** Hands the client's data to the exchange, and its answer to the client. */
  step(data: Buffer): void {
    const step = this.exchange?.step(data);
    if (step === undefined) return;
    if (step.kind === "continue") {
      const { ContinueAuthentication } = ReasonCode;
      this.channel.send(encodeAuth(ContinueAuthentication, this.method, step.data));
      return;
    }
    this.exchange = null;
    if (this.user === null) {
      this.onFirst(step.kind === "success" ? step.user : null, step);
      return;
    }
    if (step.kind === "failure") this.failAgain(step.why);
    // The session belongs to the user that CONNECT named.
    else if (step.user !== this.user) this.failAgain("another user");
    else {
      this.authenticator.counters.againAccepted++;
      this.channel.send(encodeAuth(ReasonCode.Success, this.method, step.data));
    }
  }

  private onFirst(user: string | null, { data, why }: { data: Buffer; why?: string }): void {
    const { counters } = this.authenticator;
    this.user = user;
    if (user === null) counters.exchangeRefused(why ?? "failed");
    else counters.exchangesAccepted++;
    this.onAuthenticated({ user, data });
  }

  /** [MQTT-4.12.1-2] */
  private failAgain(why: string): void {
    this.authenticator.counters.againRefused(why);
    this.channel.close(ReasonCode.NotAuthorized);
  }
}

function unexpected(detail: string): ProtocolError {
  return new ProtocolError(ReasonCode.ProtocolError, detail);
}
