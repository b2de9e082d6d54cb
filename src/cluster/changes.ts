/** Whoever waits for a state of the peers is asked again after every change. */
import type { Clock } from "../lib/clock.js";

export class Changes {
  /** Called after every change. */
  readonly watchers = new Set<() => void>();

  constructor(private readonly clock: Clock) {}

  /** Something has changed. */
  notify(): void {
    for (const watcher of [...this.watchers]) watcher();
  }

  /** Resolves with true once `condition` holds, now or after a change; with false after `timeoutMs`. */
  when(condition: () => boolean, timeoutMs: number): Promise<boolean> {
    return new Promise((resolve) => {
      const check = (): void => {
        if (condition()) end(true);
      };
      const end = (held: boolean): void => {
        this.watchers.delete(check);
        this.clock.clearTimer(timer);
        resolve(held);
      };
      const timer = this.clock.setTimer(timeoutMs, () => end(false));
      this.watchers.add(check);
      check();
    });
  }
}
