/**
 * Free memory for output, in three sizes. What a turn brings for most connections is a few bytes, and there may be thousands
 * of them: each takes the smallest buffer that will do and moves on to a larger one when it has to. Buffers too
 * many to keep are left to the garbage collector, which then has much to do: that is for rare bursts.
 */

interface BufferSize {
  readonly bytes: number;
  readonly free: Buffer[];
  /** Most that are kept. */
  readonly keep: number;
}

/** A run of a whole read (64 KiB) and some small packets fit the largest buffer. */
export const largestBytes = 81_920;

export class BufferPool {
  private readonly small: BufferSize = { bytes: 2048, free: [], keep: 4096 };
  private readonly middle: BufferSize = { bytes: 16_384, free: [], keep: 512 };
  private readonly large: BufferSize = { bytes: largestBytes, free: [], keep: 256 };

  /** A buffer with room for `count` bytes, at most `largestBytes`. */
  take(count: number): Buffer {
    const { free, bytes } = this.sizeFor(count);
    return free.pop() ?? Buffer.allocUnsafeSlow(bytes);
  }

  /** Nobody else uses this buffer, which was taken here. */
  give(buffer: Buffer): void {
    const { free, keep } = this.sizeFor(buffer.length);
    if (free.length < keep) free.push(buffer);
  }

  private sizeFor(count: number): BufferSize {
    if (count <= this.small.bytes) return this.small;
    return count <= this.middle.bytes ? this.middle : this.large;
  }
}
