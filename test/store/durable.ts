/** A store that outlives the parts on it, and commits of one process after the other. */
import assert from "node:assert/strict";
import { Backoff } from "../../src/lib/backoff.js";
import { seededRandom } from "../../src/lib/random.js";
import { Commits } from "../../src/store/commits.js";
import { HandClock, ToldStore } from "./support.js";

export class Durable {
  readonly store = new ToldStore();
  readonly clock = new HandClock();
  commits = this.newCommits();

  /** The process is gone: of what is under way nothing more is heard. */
  crash(): void {
    this.commits.close();
    this.store.openGate();
    this.commits = this.newCommits();
  }

  /** Until everything that was touched is durable. */
  async settled(): Promise<void> {
    let done = false;
    this.commits.whenCommitted(() => {
      done = true;
    });
    for (let turns = 0; !done; turns++) {
      assert.ok(turns < 100, "the commits come to no end");
      await this.clock.turn();
    }
  }

  private newCommits(): Commits {
    const { store, clock } = this;
    return new Commits({
      ...{ store, clock, intervalMs: 0, slowMs: 10_000 },
      backoff: new Backoff(seededRandom(1), 50, 1000),
      onStalled: () => undefined,
      onBroken: ({ why }) => assert.fail(why),
    });
  }
}
