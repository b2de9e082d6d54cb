/** A store that remembers its commits, so that a test can ask what a node would find after any of them. */
import { MemoryStore } from "../../src/store/memory.js";
import type { PartitionWrite, StoreFailure } from "../../src/store/store.js";
import type { World } from "./support.js";

export class CrashStore extends MemoryStore {
  /** One entry per commit. */
  readonly history: (readonly PartitionWrite[])[] = [];

  override write(writes: readonly PartitionWrite[]): Promise<readonly (StoreFailure | null)[]> {
    this.history.push(writes.map((one) => ({ ...one, operations: [...one.operations] })));
    return super.write(writes);
  }

  /** What is there after the first `commits` of them (undefined: all). */
  copy(commits = this.history.length): CrashStore {
    const copy = new CrashStore();
    for (const writes of this.history.slice(0, commits)) void copy.write(writes);
    return copy;
  }
}

/** The same, whose commits can be held up, or fail. */
export class HeldStore extends CrashStore {
  failure: StoreFailure | null = null;
  private gate: Promise<void> = Promise.resolve();
  letGo: () => void = () => undefined;

  /** What is written from now on is not done before `letGo`. */
  hold(): void {
    this.gate = new Promise((resolve) => {
      this.letGo = resolve;
    });
  }

  override async write(
    writes: readonly PartitionWrite[],
  ): Promise<readonly (StoreFailure | null)[]> {
    await this.gate;
    const { failure } = this;
    return failure === null ? super.write(writes) : writes.map(() => failure);
  }
}

/** Lets everything happen that is under way. */
export async function settle(one: World): Promise<void> {
  for (let quiet = 0; quiet < 5; quiet++) {
    one.clock.advance(0);
    await new Promise((resolve) => setImmediate(resolve));
  }
}
