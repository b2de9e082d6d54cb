/**
 * Everything that this node keeps about one peer: the link, the copy of its rows, the streams both
 * ways. Frames come in here; what concerns more than this peer goes on to the cluster.
 */
import { ticksPerMs } from "../lib/hlc.js";
import type { Store } from "../store/store.js";
import type { ChannelLink, Channels } from "./channels.js";
import type { CommonTable } from "./common-table.js";
import type { ClusterContext } from "./context.js";
import type { Link, LinkListener } from "./link.js";
import { PeerRows } from "./peer-rows.js";
import { RowPositions } from "./row-positions.js";
import type { ClusterUser } from "./ports.js";
import { type ForwardNumber, isLater, type Position } from "./position.js";
import type { RowFollower, RowTable } from "./row-table.js";
import { Outbox } from "./outbox.js";
import { StoredRows } from "./stored-rows.js";
import { StreamSender } from "./stream.js";
import type { StreamReceiver } from "./stream-receiver.js";
import {
  decodeStreamAck,
  encodeStreamAck,
  forwardHeaderBytes,
  forwardsHeaderBytes,
  forwardsSpreadHeaderBytes,
  frameHeaderBytes,
  FrameType,
  WireError,
} from "./wire/frames.js";
import { type Body, decode } from "./wire/messages.js";

export interface PeerHost {
  readonly channels: Channels;
  readonly common: CommonTable;
  /** Is that peer not to send forwards yet? */
  holdsStream(name: string): boolean;
  /** The number of this node's newest forward, to whomever. */
  readonly newestCounter: number;
  /** Is the peer up or suspect in the eyes of the failure detector? */
  isWaitedFor(name: string): boolean;
  onHeard(peer: Peer): void;
  /** Both sides hold each other's rows: the peer is up. */
  onSynced(peer: Peer): void;
  onUnlinked(peer: Peer, fault: string | null): void;
  onMembers(peer: Peer, body: Body<"members">): void;
  onCall(peer: Peer, link: Link, id: number, verb: string, body: unknown): void;
  onBye(peer: Peer, why: Body<"bye">["why"]): void;
}

/** What a node says of itself in heartbeats. */
export interface PeerLoad {
  readonly connections: number;
  readonly sessions: number;
  readonly stamp: number;
}

/** What a peer may have given since its last heartbeat, beside the time that has gone by since it was heard. */
const stampMarginMs = 1000;
/** More stamps it has not given since it heard the latest of ours. */
const stampsCountedMax = 100 * ticksPerMs;
const verifyTries = 20;
const verifyPauseMs = 50;

export class Peer implements LinkListener, RowFollower {
  readonly counters = { heartbeats: 0, digestMismatches: 0, resyncs: 0, unknownFrames: 0 };
  link: Link | null = null;
  private channels: ChannelLink | null = null;
  /** Of its process with which this one was linked last; 0: with none. */
  incarnation = 0;
  ackedSeq = -1;
  /** What it last said of itself, for `status`. */
  connections = 0;
  sessions = 0;
  /** Its clock (lib/hlc.ts) at its last heartbeat. */
  private heardStamp = 0;
  sinceMs: number;
  readonly rows: PeerRows;
  private readonly rowPositions = new RowPositions();
  readonly sender: StreamSender;
  /** What of it outlives this process; null: nothing. */
  readonly stored: { readonly outbox: Outbox; readonly rows: StoredRows } | null;
  private ackDue = false;
  /** A sign of life is noted once a turn, not once a forward. */
  private heardThisTurn = false;
  private wasSynced = false;
  private resumed = false;
  /** It waits for our word before it sends forwards. */
  private isStreamHeld = false;

  constructor(
    readonly name: string,
    /** Name and id of its data directory. */
    readonly directory: string,
    readonly index: number,
    private readonly context: ClusterContext,
    private readonly host: PeerHost,
    private readonly user: ClusterUser,
    private readonly table: RowTable,
    readonly receiver: StreamReceiver,
  ) {
    this.sinceMs = context.clock.wallMs();
    const { commits, clock, settings } = context;
    this.stored =
      commits === null
        ? null
        : {
            outbox: new Outbox(directory, clock, commits),
            rows: new StoredRows(directory, commits),
          };
    const onChanged = (key: string, before: number, value: number): void =>
      this.onRowChanged(key, before, value);
    const store = {
      set: (key: string, value: number): number => {
        const before = user.setPeerRow(index, key, value);
        onChanged(key, before, value);
        return before;
      },
      keys: () => user.peerRowKeys(index),
    };
    this.rows = new PeerRows(store, clock, (fault) => this.onRowsHeld(fault));
    const { incarnation } = context.identity();
    const countDown = (frame: Buffer, expiresMs: number): void =>
      user.countDownForward(frame, expiresMs);
    this.sender = new StreamSender(incarnation, settings, countDown, this.stored?.outbox);
    this.sender.setTime(this.sinceMs);
  }

  /** Takes up what an earlier process of this node had stored of it; before there is a link. */
  async load(store: Pick<Store, "read">): Promise<void> {
    if (this.stored === null) return;
    const { outbox, rows } = this.stored;
    this.sender.restore(await outbox.load(store));
    await rows.load(store, (key, value) => {
      this.user.setPeerRow(this.index, key, value);
      this.rows.count++;
    });
  }

  /** Forgets what is stored under its name: it is no member, or another data directory has the name now. */
  forget(): void {
    this.stored?.outbox.purge();
    this.stored?.rows.purge();
  }

  /** Its rows are no more: it is down, and others have taken what is behind them, or it was away for too long. */
  dropRows(): void {
    const { user, index } = this;
    for (const key of [...user.peerRowKeys(index)]) {
      if (key !== undefined) this.onRowChanged(key, user.setPeerRow(index, key, 0), 0);
    }
    this.rows.count = 0;
  }

  /**
   * It may have that row by now: what is due to it waits until the peer has said which rows it has. Of one that has, or is about
   * to, nothing is assumed.
   */
  assumeRow(key: string, value: number): void {
    if (this.rows.seq !== -1 || !this.sender.isAway) return;
    const before = this.user.setPeerRow(this.index, key, value);
    if (before === 0) this.rows.count++;
    this.onRowChanged(key, before, value);
  }

  /** A whole frame of its stream, which it had stored before it died: taken as if it had come from it. */
  takeLeft(frame: Buffer): void {
    const type = frame[frameHeaderBytes - 1];
    if (type === FrameType.forwards) this.onForwards(frame, frameHeaderBytes, frame.length);
    else if (type === FrameType.forwardsSpread)
      this.onForwardsSpread(frame, frameHeaderBytes, frame.length);
    else this.onForward(frame, frameHeaderBytes, frame.length, type === FrameType.forwardAlone);
  }

  /** What was taken of its stream. */
  get position(): Position {
    return { origin: this.name, ...this.receiver.position };
  }

  /** Has everything of its stream been accepted here up to this number? */
  hasAccepted(number: ForwardNumber): boolean {
    const { incarnation, accepted: counter } = this.receiver;
    return !isLater(number, { incarnation, counter });
  }

  /** As `RowPositions.before`: of its rows and our forwards. */
  newestBefore(seq: number): number | null {
    return this.rowPositions.before(seq);
  }

  /** To be called every half `publish.ack_timeout`. */
  tick(): void {
    const nowMs = this.context.clock.wallMs();
    this.sender.setTime(nowMs);
    this.sender.tick();
    if (this.rows.count > 0 && this.isAwayTooLong(nowMs)) {
      this.context.log.warn({ peer: this.name }, "away for too long: its routes are forgotten");
      this.dropRows();
    }
  }

  /** As far as this process knows: since it has seen the peer down, or since its own start. */
  private isAwayTooLong(nowMs: number): boolean {
    if (this.link !== null || this.isWaitedFor()) return false;
    return nowMs - this.sinceMs >= this.context.settings.forgetAfterMs;
  }

  isWaitedFor(): boolean {
    return this.host.isWaitedFor(this.name);
  }

  /** A link to it is up: say where we are, and send what it lacks. */
  attach(link: Link): void {
    this.link = link;
    this.ackedSeq = -1;
    this.wasSynced = false;
    this.resumed = false;
    this.rows.reset();
    this.rowPositions.clear();
    this.heardThisTurn = false;
    this.isStreamHeld = true;
    if (!this.host.holdsStream(this.name)) this.openStream();
    this.table.sendSnapshot(link);
    this.channels = this.host.channels.open(this.name, link);
    link.start(this);
  }

  /** Says how far its stream was accepted here: it begins to send then. */
  openStream(): void {
    if (!this.isStreamHeld) return;
    this.isStreamHeld = false;
    this.sendStreamAck();
    for (const [from, counter] of this.receiver.acceptedAlone())
      this.acknowledgeAlone(from, counter);
  }

  /** Ends the present link, if any; with `why` the peer is told. */
  drop(why?: Body<"bye">["why"]): void {
    this.link?.close(why);
  }

  /**
   * No stamp that it has given so far is higher. What this node grants in its place has to be. `own`: the latest of this
   * node, from which it may have counted on where stamps are ahead of real time.
   */
  stampBound(silenceMs: number, own: number): number {
    if (this.heardStamp === 0) return 0;
    const passed = this.heardStamp + (Math.max(0, silenceMs) + stampMarginMs) * ticksPerMs;
    return Math.max(passed, own + stampsCountedMax);
  }

  sendHeartbeat(load: PeerLoad): void {
    this.link?.send("heartbeat", { ...this.table.digest(), ...load });
  }

  /**
   * Asks the peer for the digest of its rows and compares our copy at the same sequence; a copy that
   * differs is asked for anew. Calls `done` with whether it was right; null: the link broke.
   */
  verifyRows(done: (equal: boolean | null) => void, triesLeft = verifyTries): void {
    if (this.link === null) {
      done(null);
      return;
    }
    this.link.call("digest", {}, (digest) => {
      if (digest === null) done(null);
      else if (digest.seq !== this.rows.seq && triesLeft > 0) {
        // Deltas are under way: the next answer may be at the sequence that we hold.
        this.context.clock.setTimer(verifyPauseMs, () => this.verifyRows(done, triesLeft - 1));
      } else {
        const equal = digest.seq === this.rows.seq && !this.rows.differs(digest);
        if (!equal) this.resync();
        done(equal);
      }
    });
  }

  /** A forward that had to wait was accepted by the layer above. */
  forwardAccepted(incarnation: number, counter: number): void {
    const { receiver } = this;
    if (receiver.accept(incarnation, counter)) this.acknowledgeSoon();
    if (receiver.acceptAlone(incarnation, counter)) this.acknowledgeAlone(incarnation, counter);
  }

  beforeData(): void {
    this.sender.closeRun();
    this.channels?.flush();
    if (!this.ackDue) return;
    if (this.link?.dataLeavesSoon) this.sendStreamAck(true);
    else this.link?.scheduleControl();
  }

  beforeControl(): void {
    this.heardThisTurn = false;
    // One write less for both nodes where forwards leave in this turn, too.
    if (this.ackDue && !this.link?.dataLeavesSoon) this.sendStreamAck();
  }

  onClose(fault: string | null): void {
    this.link = null;
    this.rows.reset();
    this.sender.pause();
    const { channels } = this;
    this.channels = null;
    if (channels !== null) this.host.channels.close(channels);
    this.host.onUnlinked(this, fault);
  }

  onCall(id: number, verb: string, body: unknown): void {
    if (this.link !== null) this.host.onCall(this, this.link, id, verb, body);
  }

  onFrame = (type: number, bytes: Buffer, start: number, end: number): void => {
    if (!this.heardThisTurn) {
      this.heardThisTurn = true;
      this.link?.scheduleControl();
      this.host.onHeard(this);
    }
    if (type === FrameType.forwards) this.onForwards(bytes, start, end);
    else if (type === FrameType.forward) this.onForward(bytes, start, end, false);
    else if (type === FrameType.forwardsSpread) this.onForwardsSpread(bytes, start, end);
    else if (type === FrameType.channels) this.onChannels(bytes, start, end);
    else if (type === FrameType.forwardAlone) this.onForward(bytes, start, end, true);
    else this.onControl(type, bytes, start, end);
  };

  private onControl(type: number, bytes: Buffer, start: number, end: number): void {
    switch (type) {
      case FrameType.heartbeat:
        this.onHeartbeat(decode("heartbeat", bytes, start, end));
        return;
      case FrameType.members:
        this.host.onMembers(this, decode("members", bytes, start, end));
        return;
      case FrameType.streamAck: {
        const { incarnation, counter } = decodeStreamAck(bytes, start, end);
        this.sender.accepted(counter, incarnation);
        // The first one on a link says where it stands: only now is known what to repeat.
        if (!this.resumed && this.link !== null) this.sender.resume(this.link);
        this.resumed = true;
        return;
      }
      case FrameType.streamTaken: {
        const { incarnation, counter } = decodeStreamAck(bytes, start, end);
        this.sender.taken(counter, incarnation);
        return;
      }
      case FrameType.call: {
        const { id, verb, body } = decode("call", bytes, start, end);
        this.onCall(id, verb, body);
        return;
      }
      case FrameType.reply: {
        const { id, body } = decode("reply", bytes, start, end);
        this.link?.onReply(id, body);
        return;
      }
      case FrameType.tell:
        this.user.onTold(this.index, bytes.subarray(start, end));
        return;
      case FrameType.bye:
        this.host.onBye(this, decode("bye", bytes, start, end).why);
        return;
      case FrameType.tableDigest:
        this.host.common.answer(this, decode("tableDigest", bytes, start, end));
        return;
      case FrameType.tableEntries:
        this.host.common.merge(decode("tableEntries", bytes, start, end).entries, this.name);
        return;
      default:
        this.onRows(type, bytes, start, end);
    }
  }

  private onRows(type: number, bytes: Buffer, start: number, end: number): void {
    switch (type) {
      case FrameType.rowsBegin:
        this.rows.begin();
        return;
      case FrameType.rowsPart:
        this.rows.part(decode("rowsPart", bytes, start, end));
        return;
      case FrameType.rowsEnd:
        this.rows.end(decode("rowsEnd", bytes, start, end));
        return;
      case FrameType.rowsDelta: {
        if (this.rows.delta(decode("rowsDelta", bytes, start, end))) {
          if (this.rows.seq >= 0) this.acknowledgeRows();
        } else this.resync();
        return;
      }
      case FrameType.rowsAck:
        this.ackedSeq = Math.max(this.ackedSeq, decode("rowsAck", bytes, start, end).seq);
        this.checkSynced();
        this.table.release();
        return;
      case FrameType.rowsResync:
        if (this.link !== null) this.table.sendSnapshot(this.link);
        return;
      default:
        this.counters.unknownFrames++;
        throw new WireError(`frame of unknown type ${type}`);
    }
  }

  /** A snapshot has taken the place of what was held before, or cannot. */
  private onRowsHeld(fault: WireError | null): void {
    if (fault !== null) {
      this.context.log.warn({ peer: this.name, fault: fault.message }, "its routes make no sense");
      this.drop();
      return;
    }
    this.acknowledgeRows();
    this.checkSynced();
  }

  /** What was durable before, or is now, is stored. */
  private onRowChanged(key: string, before: number, value: number): void {
    const { stored, user } = this;
    if (stored === null || before === value) return;
    const isDurable = user.isDurableRow(key, value);
    if (isDurable || user.isDurableRow(key, before)) stored.rows.set(key, isDurable ? value : 0);
  }

  /** Says that all its rows so far are held, once those that are durable are committed. */
  private acknowledgeRows(): void {
    const { link, stored } = this;
    const { seq } = this.rows;
    this.rowPositions.note(seq, this.host.newestCounter);
    const acknowledge = (): void => {
      if (this.link === link) link?.send("rowsAck", { seq });
    };
    if (stored === null) acknowledge();
    else stored.rows.whenStored(acknowledge);
  }

  private onHeartbeat(heartbeat: Body<"heartbeat">): void {
    this.counters.heartbeats++;
    this.connections = heartbeat.connections;
    this.sessions = heartbeat.sessions;
    this.heardStamp = heartbeat.stamp;
    if (!this.rows.differs(heartbeat)) return;
    this.counters.digestMismatches++;
    this.context.log.warn({ peer: this.name }, "our copy of its routes is not right: asking anew");
    this.resync();
  }

  private onForward(bytes: Buffer, start: number, end: number, alone: boolean): void {
    const body = start + forwardHeaderBytes - frameHeaderBytes;
    if (end < body) throw new WireError("forward cut off");
    const incarnation = bytes.readDoubleBE(start);
    const counter = bytes.readDoubleBE(start + 8);
    if (counter === 0) {
      this.user.onForward(this.index, incarnation, 0, bytes, body, end);
      return;
    }
    if (!this.receiver.take(incarnation, counter)) {
      this.acknowledgeSoon();
      return;
    }
    const accepted = this.user.onForward(this.index, incarnation, counter, bytes, body, end);
    this.receiver.settle(counter, accepted);
    if (accepted) this.acknowledgeSoon();
    if (alone && this.receiver.settleAlone(counter, accepted)) {
      this.acknowledgeAlone(incarnation, counter);
    }
  }

  /** Forwards that lie side by side: like as many single ones with growing numbers. */
  private onForwards(bytes: Buffer, start: number, end: number): void {
    const body = start + forwardsHeaderBytes - frameHeaderBytes;
    if (end < body) throw new WireError("forwards cut off");
    const incarnation = bytes.readDoubleBE(start);
    const counter = bytes.readDoubleBE(start + 8);
    const count = bytes.readUInt32BE(start + 16);
    const alike = bytes[start + 20] === 1;
    const { index, receiver, user } = this;
    user.onForwards(index, incarnation, counter, count, alike, bytes, body, end, receiver);
    if (counter === 0) return;
    // What could not be read.
    receiver.takeUpTo(incarnation, counter + count - 1);
    this.acknowledgeSoon();
  }

  /** The same of forwards between whose numbers others may be. */
  private onForwardsSpread(bytes: Buffer, start: number, end: number): void {
    const body = start + forwardsSpreadHeaderBytes - frameHeaderBytes;
    if (end < body) throw new WireError("forwards cut off");
    const incarnation = bytes.readDoubleBE(start);
    const counter = bytes.readDoubleBE(start + 8);
    const span = bytes.readUInt32BE(start + 20);
    const { index, receiver, user } = this;
    user.onForwardsSpread(index, incarnation, counter, bytes, body, end, receiver);
    if (counter === 0) return;
    receiver.takeUpTo(incarnation, counter + span);
    this.acknowledgeSoon();
  }

  private onChannels(bytes: Buffer, start: number, end: number): void {
    if (this.channels !== null) this.host.channels.onFrame(this.channels, bytes, start, end);
  }

  /** One acknowledgement a turn, however many forwards came. */
  private acknowledgeSoon(): void {
    if (this.ackDue) return;
    this.ackDue = true;
    this.link?.scheduleControl();
  }

  private acknowledgeAlone(incarnation: number, counter: number): void {
    this.link?.sendControl(encodeStreamAck(incarnation, counter, FrameType.streamTaken));
  }

  private sendStreamAck(withData = false): void {
    this.ackDue = false;
    // The peer would take it for the word to begin.
    if (this.isStreamHeld) return;
    const { incarnation, accepted } = this.receiver;
    const ack = encodeStreamAck(incarnation, accepted);
    if (withData) this.link?.sendData(ack);
    else this.link?.sendControl(ack);
  }

  private checkSynced(): void {
    if (this.wasSynced || this.ackedSeq < 0 || this.rows.seq < 0) return;
    this.wasSynced = true;
    this.host.onSynced(this);
  }

  private resync(): void {
    this.counters.resyncs++;
    this.rows.reset();
    this.link?.send("rowsResync", {});
  }
}
