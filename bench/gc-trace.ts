/** What V8 writes with `--trace-gc --trace-gc-nvp`: a line for each collection. */

export interface Collection {
  readonly isYoung: boolean;
  /** How long the program stood still. */
  readonly pauseMs: number;
  /** On the heap since the one before; what is outside of it (buffers) does not count. */
  readonly allocatedBytes: number;
}

/** All collections in what a process has written; other lines are passed over. */
export function collectionsIn(output: string): Collection[] {
  const lines = output.matchAll(/ ms: pause=([\d.]+) .*?\bgc=(\w+) .*? allocated=(\d+) /g);
  return [...lines].map(([, pause, kind, allocated]) => ({
    isYoung: kind === "s",
    pauseMs: Number(pause),
    allocatedBytes: Number(allocated),
  }));
}

/**
 * The time of all of them as if nobody had disturbed them: each counts as long as the one that nine in ten exceed. On a
 * machine with other work most are interrupted, and last as long as the interruption.
 */
export function undisturbedMs(collections: readonly Collection[]): number {
  const sorted = collections.map(({ pauseMs }) => pauseMs).sort((a, b) => a - b);
  return sorted.length * (sorted[Math.floor(sorted.length / 10)] ?? 0);
}
