/**
 * Client and session of a move stand still from before its begin until it is known where the session is: the session
 * sends nothing of QoS 1 or 2, the connection is not read, and what was under way between them has come to its end.
 */
import type { Clock } from "../../lib/clock.js";
import type { Channel } from "../channel.js";
import type { Session } from "../session.js";

/** So long may they take to come to rest. */
const restMs = 3_000;
/** When its client has waited so long, a move that can still be given up is. */
const longMs = 5_000;
/** And if it cannot, the client is told to try another node. */
const tooLongMs = 10_000;

export class Hold {
  /** `free`: not held yet. `settling`: what was read goes its way. `still`: nothing is under way. */
  private stage: "free" | "asked" | "settling" | "committing" | "still" | "over" = "free";
  private sinceMs = Number.POSITIVE_INFINITY;

  constructor(
    private readonly session: Session,
    private readonly channel: Channel,
    private readonly clock: Clock,
  ) {}

  get isStill(): boolean {
    return this.stage === "still" && this.channel.isOpen;
  }

  /** They do not come to rest. */
  get isLate(): boolean {
    return this.heldMs > restMs;
  }

  get isLong(): boolean {
    return this.heldMs > longMs;
  }

  get isTooLong(): boolean {
    return this.heldMs > tooLongMs;
  }

  /** Goes on with it. Returns what is still under way, in a sentence; null: nothing, and so it stays. */
  advance(): string | null {
    const { session, channel } = this;
    switch (this.stage) {
      case "free":
        return this.unready() ?? this.begin();
      case "asked":
        return "the node of its client does not answer";
      case "settling":
        if (session.oldestReply !== null) return "a SUBSCRIBE of its client is not answered yet";
        for (const [, message] of session.openPublishes()) {
          if (message !== null) return unaccepted;
        }
        this.stage = "committing";
        session.whenDurable(() => this.step("committing", "still"));
        return this.advance();
      case "committing":
        return "its store takes its time";
      default:
        return channel.isOpen ? null : "its client is gone";
    }
  }

  /** It stays where it is, and goes on as before. */
  release(): void {
    const { session, channel, stage } = this;
    this.stage = "over";
    if (stage === "free" || stage === "over") return;
    if (!channel.isOpen) {
      session.window.release();
      return;
    }
    session.release();
    channel.release();
  }

  private get heldMs(): number {
    return this.clock.monotonicMs() - this.sinceMs;
  }

  private begin(): string | null {
    this.stage = "asked";
    this.sinceMs = this.clock.monotonicMs();
    this.session.hold();
    this.channel.hold(() => this.step("asked", "settling"));
    return this.advance();
  }

  private step(from: Hold["stage"], to: Hold["stage"]): void {
    if (this.stage === from) this.stage = to;
  }

  /** Why it cannot be held yet: it takes acknowledgements of the client to go on. */
  private unready(): string | null {
    const { session, channel } = this;
    if (session.window.resending) return "its client is still sent again what was in flight";
    if (session.isReplaying) return "its client is still sent what is retained";
    if (session.queue !== null && session.queue.parked > 0) return "its queue is full";
    if (channel.hasWithheld) return "a publish of its client was refused";
    return null;
  }
}

export const unaccepted = "a QoS 2 message of its client is not accepted everywhere yet";
