/**
 * Flow control between publishers and subscribers: publishers are held while `max` deliveries are
 * outstanding over all subscribers and go on at half of it, so that a flood of QoS 0 measures what a
 * broker carries and not what it drops. Deliveries that have been missing for long are written off,
 * so that a broker which drops cannot hold a run for ever.
 */
export class Flow {
  /** Deliveries due for what was published so far. */
  expected = 0;
  received = 0;
  private writtenOff = 0;
  private held = false;

  /** `max` is a number of deliveries; `onResume` is called when held publishers may go on. */
  constructor(
    private readonly max: number,
    private readonly onResume: () => void,
  ) {}

  outstanding(): number {
    return this.expected - this.received - this.writtenOff;
  }

  /** Deliveries that may still become due. When it is not above 0, publishers wait for `onResume`. */
  room(): number {
    if (this.held) return 0;
    const room = this.max - this.outstanding();
    if (room <= 0) this.held = true;
    return room;
  }

  /** Counts `count` deliveries. */
  arrived(count: number): void {
    this.received += count;
    if (this.held && this.outstanding() <= this.max / 2) this.resume();
  }

  /** Nothing has arrived for long: what is outstanding will not come. Does nothing when not held. */
  writeOff(): void {
    if (!this.held) return;
    this.writtenOff += this.outstanding();
    this.resume();
  }

  private resume(): void {
    this.held = false;
    this.onResume();
  }
}
