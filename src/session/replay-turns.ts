/**
 * The pace of all replays of retained messages together: each turn of the event loop has room for so many
 * steps and no more, and sessions take their shares of it in turn, so that one that subscribes to
 * everything holds up neither live messages nor other replays.
 */
import { Ring } from "../lib/ring.js";

/** Messages sent, or places of the index looked at, in one turn. */
export const stepsPerTurn = 2048;
/** What one session may take at once. */
export const stepsPerShare = 256;

/** A session whose replay goes on. */
export interface Replaying {
  /** Waits in the queue of replays already. */
  awaitsReplayTurn: boolean;
  pump(): void;
}

export class ReplayTurns {
  private left = stepsPerTurn;
  private isDeferred = false;
  private readonly waiting = new Ring<Replaying>();

  /** `defer`: calls back at the end of the turn. */
  constructor(private readonly defer: (callback: () => void) => void) {}

  /** How many sessions wait for their turn. */
  get length(): number {
    return this.waiting.length;
  }

  /** Steps that may be taken now; what was taken is told to `took`. */
  get share(): number {
    return Math.min(this.left, stepsPerShare);
  }

  took(steps: number): void {
    this.left -= steps;
    this.renewSoon();
  }

  /** Its share is used up: it goes on when it is its turn. */
  wait(session: Replaying): void {
    if (session.awaitsReplayTurn) return;
    session.awaitsReplayTurn = true;
    this.waiting.push(session);
    this.renewSoon();
  }

  private renewSoon(): void {
    if (this.isDeferred) return;
    this.isDeferred = true;
    this.defer(() => this.renew());
  }

  private renew(): void {
    this.isDeferred = false;
    this.left = stepsPerTurn;
    while (this.left > 0) {
      const session = this.waiting.shift();
      if (session === undefined) return;
      session.awaitsReplayTurn = false;
      session.pump();
    }
  }
}
