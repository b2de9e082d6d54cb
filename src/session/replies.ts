/**
 * SUBACKs and UNSUBACKs in the order of their requests: one that waits until peers know the
 * subscription holds back those behind it.
 */
import { Ring } from "../lib/ring.js";

interface Reply {
  ready: boolean;
  readonly send: () => void;
}

export class Replies {
  private readonly waiting = new Ring<Reply>(4);

  /** `onFlushed`: some may have been sent. */
  constructor(private readonly onFlushed: () => void) {}

  get length(): number {
    return this.waiting.length;
  }

  /** The one that has waited the longest. */
  get oldest(): object | null {
    return this.waiting.peek() ?? null;
  }

  /** Calls `send` when `whenReady` has called back and every earlier reply is sent. */
  push(send: () => void, whenReady: (ready: () => void) => void): void {
    const reply: Reply = { ready: false, send };
    this.waiting.push(reply);
    whenReady(() => {
      reply.ready = true;
      this.flush();
      this.onFlushed();
    });
  }

  /** Forgets what still waits: its connection is gone. */
  clear(): void {
    this.waiting.clear();
  }

  private flush(): void {
    for (let first = this.waiting.peek(); first?.ready; first = this.waiting.peek()) {
      this.waiting.shift();
      first.send();
    }
  }
}
