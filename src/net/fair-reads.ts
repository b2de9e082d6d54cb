/**
 * Nobody is read for so long that others wait: the system hands over up to 2 MiB of one socket before it looks
 * at the next. All connections share one of these; it asks the one that is being read to leave off.
 */

/** What one connection may bring before others have their turn: some thousand small publishes. */
const bytesMax = 262_144;

export class FairReads {
  private reader: object | null = null;
  private bytes = 0;

  /** So much of `reader` has come. Returns whether it should pause until the end of this turn. */
  mustYield(reader: object, bytes: number): boolean {
    if (reader !== this.reader) {
      this.reader = reader;
      this.bytes = 0;
    }
    this.bytes += bytes;
    if (this.bytes < bytesMax) return false;
    this.reader = null;
    this.bytes = 0;
    return true;
  }

  /** A connection is gone. */
  forget(reader: object): void {
    if (this.reader === reader) this.reader = null;
  }
}
