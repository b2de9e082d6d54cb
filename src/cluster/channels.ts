/**
 * Channels: pipes of opaque bytes between numbered endpoints of two nodes, all over the data connection of the link
 * between them. What is written in a turn leaves in few frames, in its order. A channel lives as long as its link:
 * a number is used once on a link, so that what was meant for an earlier channel never reaches a later one.
 */
import type { Clock } from "../lib/clock.js";
import type { Link } from "./link.js";
import { frameHeaderBytes, FrameType, WireError } from "./wire/frames.js";

/** What channels need of a link. */
type LinkOutput = Pick<Link, "sendData" | "scheduleData" | "dataBufferedBytes">;

/** The layer above, at whose endpoints channels begin and end. */
export interface ChannelUser {
  /**
   * Something came for a channel: `bytes` from `start` to `end`, which nobody changes afterwards. Of a number that
   * it does not know (any more) it takes no notice.
   * @throws WireError when they make no sense: the link is closed
   */
  onEntry(
    link: ChannelLink,
    channel: number,
    kind: number,
    bytes: Buffer,
    start: number,
    end: number,
  ): void;
  /** The link takes output again, after it was full. */
  onRelieved(link: ChannelLink): void;
  /** The link is gone, and all its channels are. */
  onLost(link: ChannelLink): void;
}

/** Number, kind and length of an entry. */
const entryHeaderBytes = 9;
/** A frame is closed at this size, unless one entry alone is larger. */
const frameBytesMax = 65_536;
const frameBytesMin = 512;
/** How often a link that is full is asked whether it still is. */
const reliefMs = 5;

/** All channels over one link. */
export class ChannelLink {
  /** Where `room` has made room. */
  bytes: Buffer = Buffer.alloc(0);
  isOpen = true;
  /** So much waits for the network that nothing should be added that can wait or be left out. */
  isFull = false;
  private used = 0;
  /** Where the entry begins that could go on; -1: none. */
  private entryAt = -1;
  private channel = 0;
  private kind = 0;
  private lastNumber = 0;
  /** What the turn before needed, so that a busy link's buffers need not grow. */
  private expected = frameBytesMin;

  constructor(
    /** The peer's name. */
    readonly node: string,
    private readonly link: LinkOutput,
    private readonly outputBytes: number,
    private readonly clock: Clock,
    private readonly onRelieved: (link: ChannelLink) => void,
  ) {}

  /** A number for a channel that this side opens. The two sides number theirs independently. */
  nextNumber(): number {
    this.lastNumber = (this.lastNumber % 0xffff_ffff) + 1;
    return this.lastNumber;
  }

  /**
   * Makes room for `length` bytes to a channel and returns where in `bytes` it is; the caller fills it before anything
   * else is written. `goesOn`: they continue the entry before if that was of this channel and kind.
   */
  room(channel: number, kind: number, length: number, goesOn: boolean): number {
    const fits = this.used + entryHeaderBytes + length <= this.bytes.length;
    if (!fits) this.open(length);
    const continues =
      goesOn && this.entryAt !== -1 && this.channel === channel && this.kind === kind;
    if (!continues) this.begin(channel, kind);
    const at = this.used;
    this.used = at + length;
    this.bytes.writeUInt32BE(this.used - this.entryAt - entryHeaderBytes, this.entryAt + 5);
    return at;
  }

  /** Hands what was written to the link. To be called before the link sends what a turn has gathered. */
  flush(): void {
    const { used } = this;
    if (used === 0) return;
    this.seal();
    this.expected = Math.min(frameBytesMax, Math.max(frameBytesMin, used * 2));
    this.measure();
  }

  /** The link is gone: what is still written goes nowhere. */
  lost(): void {
    this.isOpen = false;
  }

  private begin(channel: number, kind: number): void {
    this.entryAt = this.used;
    this.channel = channel;
    this.kind = kind;
    this.bytes.writeUInt32BE(channel, this.used);
    this.bytes[this.used + 4] = kind;
    this.used += entryHeaderBytes;
  }

  /** Another frame, with room for an entry of that length. */
  private open(length: number): void {
    const isFirst = this.used === 0;
    const needed = frameHeaderBytes + entryHeaderBytes + length;
    if (!isFirst) this.seal();
    else if (this.isOpen) this.link.scheduleData();
    const size = Math.max(needed, isFirst ? this.expected : frameBytesMax);
    this.bytes = Buffer.allocUnsafe(size);
    this.used = frameHeaderBytes;
    this.entryAt = -1;
  }

  private seal(): void {
    const { bytes, used } = this;
    bytes.writeUInt32BE(used - 4, 0);
    bytes[4] = FrameType.channels;
    if (this.isOpen) this.link.sendData(bytes.subarray(0, used));
    this.bytes = nothing;
    this.used = 0;
    this.entryAt = -1;
  }

  private measure(): void {
    const wasFull = this.isFull;
    this.isFull = this.isOpen && this.link.dataBufferedBytes > this.outputBytes;
    if (this.isFull) this.clock.setTimer(reliefMs, () => this.measure());
    else if (wasFull && this.isOpen) this.onRelieved(this);
  }
}

const nothing: Buffer = Buffer.alloc(0);

/** The channels of a node: one set for each link. */
export class Channels {
  private readonly links = new Map<string, ChannelLink>();
  private user: ChannelUser = {
    onEntry: () => undefined,
    onRelieved: () => undefined,
    onLost: () => undefined,
  };

  constructor(
    private readonly clock: Clock,
    private readonly outputBytes: number,
  ) {}

  /** The layer above, once it exists. */
  attach(user: ChannelUser): void {
    this.user = user;
  }

  /** The channels to that node; null: there is no link. */
  to(node: string): ChannelLink | null {
    return this.links.get(node) ?? null;
  }

  /** A link to that node is up. */
  open(node: string, link: LinkOutput): ChannelLink {
    const onRelieved = (relieved: ChannelLink): void => this.user.onRelieved(relieved);
    const channels = new ChannelLink(node, link, this.outputBytes, this.clock, onRelieved);
    this.links.set(node, channels);
    return channels;
  }

  close(channels: ChannelLink): void {
    channels.lost();
    if (this.links.get(channels.node) === channels) this.links.delete(channels.node);
    this.user.onLost(channels);
  }

  /**
   * A frame of entries came.
   * @throws WireError when they do not fit in it
   */
  onFrame(channels: ChannelLink, bytes: Buffer, start: number, end: number): void {
    let at = start;
    // The first entries may lead to the end of the link.
    while (at < end && channels.isOpen) {
      const body = at + entryHeaderBytes;
      if (body > end) throw new WireError("channels cut off");
      const next = body + bytes.readUInt32BE(at + 5);
      if (next > end) throw new WireError("channels with an entry cut off");
      const kind = bytes[at + 4] as number; // below end
      this.user.onEntry(channels, bytes.readUInt32BE(at), kind, bytes, body, next);
      at = next;
    }
  }
}
