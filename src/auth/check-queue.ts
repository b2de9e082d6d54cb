/**
 * Checks that take time: few run at once, the others wait in order, and there is a limit to how many
 * wait. A check whose connection has gone while it waited is not made.
 */
import { assert } from "../lib/assert.js";
import { Ring } from "../lib/ring.js";
import type { BasicAnswer, BasicCheck } from "./basic.js";

interface Waiting {
  readonly check: BasicCheck;
  /** Never rejects. */
  readonly work: () => Promise<BasicAnswer>;
}

export class CheckQueue {
  private readonly queue = new Ring<Waiting>(4);
  private running = 0;

  constructor(
    private readonly atOnce: number,
    private readonly waitingMax: number,
  ) {}

  /** Checks that wait for their turn. */
  get waiting(): number {
    return this.queue.length;
  }

  /** Does `work`, now or later, and hands its answer to `check`; at the limit the answer is "busy". */
  run(check: BasicCheck, work: () => Promise<BasicAnswer>): void {
    if (this.running < this.atOnce) this.start({ check, work });
    else if (this.queue.length < this.waitingMax) this.queue.push({ check, work });
    else check.done({ kind: "busy" });
  }

  private start({ check, work }: Waiting): void {
    this.running++;
    work().then(
      (answer) => {
        this.finished();
        check.done(answer);
      },
      (error: unknown) => assert(false, `a check cannot be made: ${String(error)}`),
    );
  }

  private finished(): void {
    this.running--;
    for (let next = this.queue.shift(); next !== undefined; next = this.queue.shift()) {
      if (next.check.isWanted()) {
        this.start(next);
        return;
      }
      next.check.done({ kind: "abandoned" });
    }
  }
}
