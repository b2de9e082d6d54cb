/**
 * Answers that hold for a while, by what was asked. Neither the question nor a hash that could be tried
 * at leisure is kept: keys are made with a secret of this process. The oldest answer goes when it is full.
 */
import type { Clock } from "../lib/clock.js";
import type { Random } from "../lib/random.js";
import { hmac, keyBytes } from "./verifier.js";

interface Entry<T> {
  readonly answer: T;
  readonly untilMs: number;
}

export class AnswerCache<T> {
  private readonly entries = new Map<string, Entry<T>>();
  private readonly secret: Buffer;

  constructor(
    private readonly entriesMax: number,
    private readonly clock: Clock,
    random: Random,
  ) {
    this.secret = random.bytes(keyBytes);
  }

  get size(): number {
    return this.entries.size;
  }

  /** The key of a question. */
  key(question: string): string {
    return hmac(this.secret, question).toString("base64");
  }

  /** Undefined: never asked, or too long ago. */
  get(key: string): T | undefined {
    const entry = this.entries.get(key);
    if (entry === undefined) return undefined;
    if (this.clock.monotonicMs() < entry.untilMs) return entry.answer;
    this.entries.delete(key);
    return undefined;
  }

  /** Keeps an answer for `forMs`; 0: not at all. */
  set(key: string, answer: T, forMs: number): void {
    if (forMs === 0 || this.entriesMax === 0) return;
    this.entries.delete(key);
    if (this.entries.size >= this.entriesMax) {
      const oldest = this.entries.keys().next();
      if (!oldest.done) this.entries.delete(oldest.value);
    }
    this.entries.set(key, { answer, untilMs: this.clock.monotonicMs() + forMs });
  }
}
