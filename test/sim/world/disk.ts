/** A node's disk: it outlives the node's process. A crash keeps some of the writes under way. */
import type { Loaded, StateFile } from "../../../src/store/state-file.js";
import type { Dice } from "./dice.js";
import { FakeStore } from "./store.js";
import type { Owner, Timeline } from "./timeline.js";

interface Write {
  readonly name: string;
  readonly text: string;
}

export class FakeDisk {
  readonly store: FakeStore;
  private readonly files = new Map<string, string>();
  private underWay: Write[] = [];
  private busyUntilMs = 0;

  constructor(
    private readonly timeline: Timeline,
    private readonly dice: Dice,
  ) {
    this.store = new FakeStore(timeline, dice.fork(1));
  }

  /** A state file of a process. Its `check` is left out: what is read here was written here. */
  file<T>(name: string, owner: Owner): StateFile<T> {
    return {
      load: () => Promise.resolve(this.load<T>(name)),
      // For the dead no answer comes.
      save: (value) =>
        owner.dead
          ? new Promise(() => undefined)
          : this.save({ name, text: JSON.stringify(value) }, owner),
    };
  }

  /** The process is gone: the writes under way are done up to one of them. */
  crash(): void {
    const done = this.dice.integer(this.underWay.length + 1);
    for (const { name, text } of this.underWay.slice(0, done)) this.files.set(name, text);
    this.underWay = [];
    this.busyUntilMs = 0;
    this.store.crash();
  }

  /** All data is lost. */
  wipe(): void {
    this.files.clear();
    this.store.wipe();
  }

  private load<T>(name: string): Loaded<T> {
    const text = this.files.get(name);
    // It was saved as a T by an earlier process of the same node.
    return { value: text === undefined ? undefined : (JSON.parse(text) as T), damaged: null };
  }

  private save(write: Write, owner: Owner): Promise<void> {
    this.underWay.push(write);
    const startMs = Math.max(this.timeline.nowMs, this.busyUntilMs);
    this.busyUntilMs = startMs + this.dice.between(0.5, 8);
    return new Promise((resolve) => {
      this.timeline.schedule(this.busyUntilMs - this.timeline.nowMs, owner, () => {
        this.underWay.shift();
        this.files.set(write.name, write.text);
        resolve();
      });
    });
  }
}
