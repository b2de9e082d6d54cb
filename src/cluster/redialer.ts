/**
 * Reaches one member, for ever: dials it whenever there is no link, with growing pauses. Where another
 * node answers, or nobody does for a while, the ports of the member's host are asked for its name.
 */
import { Backoff } from "../lib/backoff.js";
import type { Timer } from "../lib/clock.js";
import type { ClusterContext } from "./context.js";
import { type DialTarget, dialProved } from "./dial.js";
import { type Identity, Purpose, type RefuseAnswer } from "./handshake.js";
import { findNode } from "./names-probe.js";
import type { Wire } from "./wire/wire.js";

export interface RedialerHost {
  /** Where the member said that it is. */
  target(): DialTarget;
  hasLink(): boolean;
  onControl(wire: Wire, peer: Identity, target: DialTarget): void;
  /** `gone`: nobody listens where it was, its process is no more. An answer: it will not link. */
  onFailed(why: RefuseAnswer | "gone" | "unreachable"): void;
}

const firstWaitMs = 100;
/** Every so many failures the ports of the host are asked. */
const triesPerSearch = 4;

export class Redialer {
  private readonly backoff: Backoff;
  private timer: Timer | undefined;
  private underway = false;
  private stopped = false;
  private failures = 0;
  /** Where a search found it, when it is not where it said. */
  private found: DialTarget | null = null;

  constructor(
    private readonly name: string,
    private readonly context: ClusterContext,
    private readonly host: RedialerHost,
  ) {
    this.backoff = new Backoff(context.random, firstWaitMs, context.settings.redialMaxMs);
  }

  /** Dials now, unless there is a link or a dial is under way. */
  poke(): void {
    if (this.stopped || this.underway || this.host.hasLink()) return;
    this.context.clock.clearTimer(this.timer);
    this.underway = true;
    const target = this.found ?? this.host.target();
    dialProved(this.context, target, Purpose.control, (result) => {
      this.underway = false;
      if (this.stopped) {
        if (result.kind === "proved") result.wire.destroy();
        return;
      }
      if (result.kind === "proved" && result.peer.name === this.name) {
        // The link maker goes on from here; `poke` comes again if it fails.
        this.host.onControl(result.wire, result.peer, target);
        this.later();
        return;
      }
      if (result.kind === "proved") result.wire.destroy();
      this.found = null;
      if (result.kind === "answered") this.host.onFailed(result.answer);
      else this.host.onFailed(result.kind === "refused" ? "gone" : "unreachable");
      this.failed(result.kind === "proved");
    });
  }

  /** A link is up: the next loss starts from the shortest pause. */
  linked(): void {
    this.backoff.reset();
    this.failures = 0;
  }

  stop(): void {
    this.stopped = true;
    this.context.clock.clearTimer(this.timer);
  }

  private failed(otherNode: boolean): void {
    this.failures++;
    if (!otherNode && this.failures % triesPerSearch !== 0) {
      this.later();
      return;
    }
    this.underway = true;
    findNode(this.context, this.host.target().host, this.name, (found) => {
      this.underway = false;
      this.found = found;
      if (found !== null && !this.stopped) this.poke();
      else this.later();
    });
  }

  private later(): void {
    this.context.clock.clearTimer(this.timer);
    if (this.stopped) return;
    this.timer = this.context.clock.setTimer(this.backoff.nextMs(), () => this.poke());
  }
}
