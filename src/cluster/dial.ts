/** Dials a link port and proves the cookie, for any purpose. */
import type { ClusterContext } from "./context.js";
import {
  DialerHandshake,
  type Identity,
  type PurposeCode,
  type RefuseAnswer,
} from "./handshake.js";
import type { Pipe } from "./transport.js";
import { Wire } from "./wire/wire.js";

export type DialResult =
  | { readonly kind: "proved"; readonly wire: Wire; readonly peer: Identity }
  /** A node answered, and will not have us (or we not it: wrong cookie, no common version). */
  | { readonly kind: "answered"; readonly answer: RefuseAnswer }
  /** Nobody listens there. */
  | { readonly kind: "refused" }
  /** No answer, or none that a node would give. */
  | { readonly kind: "unreachable" };

export interface DialTarget {
  readonly host: string;
  readonly port: number;
}

/** Longest time for the whole handshake; more than the acceptor's pause after a wrong cookie. */
const handshakeTimeoutMs = 5_000;

/** Calls `done` once, later. A proved wire holds its frames until it is listened to. */
export function dialProved(
  context: ClusterContext,
  target: DialTarget,
  purpose: PurposeCode,
  done: (result: DialResult) => void,
  token?: Buffer,
): void {
  context.transport.dial(target.host, target.port, (result) => {
    if (typeof result === "string") done({ kind: result });
    else new DialAttempt(context, result, purpose, done, token).start();
  });
}

class DialAttempt {
  private readonly wire: Wire;
  private readonly handshake: DialerHandshake;
  private over = false;

  constructor(
    private readonly context: ClusterContext,
    pipe: Pipe,
    purpose: PurposeCode,
    private readonly done: (result: DialResult) => void,
    token?: Buffer,
  ) {
    this.wire = new Wire(pipe);
    const identity = context.identity(token);
    this.handshake = new DialerHandshake(context.cookie, identity, purpose, context.random);
  }

  start(): void {
    const timer = this.context.clock.setTimer(handshakeTimeoutMs, () => {
      this.end({ kind: "unreachable" });
    });
    this.wire.onClose = () => {
      this.context.clock.clearTimer(timer);
      this.end({ kind: "unreachable" });
    };
    this.wire.listen((type, bytes, start, end) => {
      const step = this.handshake.take(type, bytes.subarray(start, end));
      if (Buffer.isBuffer(step)) {
        this.wire.send(step);
        return;
      }
      this.context.clock.clearTimer(timer);
      if (step.kind === "refused") this.end({ kind: "answered", answer: step.answer });
      else this.proved(step.peer);
    });
    this.wire.send(this.handshake.first());
  }

  private proved(peer: Identity): void {
    if (this.over) return;
    this.over = true;
    this.wire.onClose = () => undefined;
    this.wire.listen(null);
    this.wire.trust(this.context.settings.frameMax);
    this.done({ kind: "proved", wire: this.wire, peer });
  }

  private end(result: DialResult): void {
    if (this.over) return;
    this.over = true;
    this.wire.destroy();
    this.done(result);
  }
}
