/**
 * Latencies as counts in log-linear buckets (64 to each power of two): adding one costs a few
 * nanoseconds, and a percentile is exact to 1.6 %.
 */

const linearBits = 6;
const linear = 1 << linearBits;
const bucketCount = (32 - linearBits + 1) << linearBits;

export class Histogram {
  private readonly counts = new Float64Array(bucketCount);
  private added = 0;
  private largest = 0;

  get count(): number {
    return this.added;
  }

  /** The largest value; undefined when there is none. */
  get max(): number | undefined {
    return this.added === 0 ? undefined : this.largest;
  }

  /** `value` is a whole number in 0 to 2^32 - 1 (the generator adds microseconds). */
  add(value: number): void {
    const bucket = bucketOf(value);
    // bucketOf is within the table for every 32-bit number.
    this.counts[bucket] = (this.counts[bucket] as number) + 1;
    this.added++;
    if (value > this.largest) this.largest = value;
  }

  /** The value that `fraction` (0 to 1) of all values do not exceed; undefined when there is none. */
  percentile(fraction: number): number | undefined {
    if (this.added === 0) return undefined;
    const want = Math.max(1, Math.ceil(fraction * this.added));
    let seen = 0;
    for (let bucket = 0; bucket < bucketCount; bucket++) {
      seen += this.counts[bucket] as number; // within the table
      if (seen >= want) return Math.min(middleOf(bucket), this.largest);
    }
    return this.largest;
  }
}

function bucketOf(value: number): number {
  if (value < linear) return value;
  const exponent = 31 - Math.clz32(value);
  const within = (value >>> (exponent - linearBits)) & (linear - 1);
  return ((exponent - linearBits + 1) << linearBits) + within;
}

function middleOf(bucket: number): number {
  if (bucket < linear) return bucket;
  const shift = (bucket >> linearBits) - 1;
  const lower = (linear + (bucket & (linear - 1))) * 2 ** shift;
  return lower + Math.floor(2 ** shift / 2);
}

/** The middle value; of an even number, the mean of the two in the middle. Throws when empty. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const upper = sorted[sorted.length >> 1];
  const lower = sorted[(sorted.length - 1) >> 1];
  if (upper === undefined || lower === undefined) throw new RangeError("median of nothing");
  return (upper + lower) / 2;
}
