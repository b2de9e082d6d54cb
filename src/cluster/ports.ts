/** What routing and the cluster ask of each other. The cluster carries bytes and keys, not MQTT. */
import type { PeerState } from "./failure-detector.js";
import type { SpreadHead } from "./spread-run.js";

/** Somebody who waits until a peer has accepted a numbered forward. */
export interface Receipt {
  accept(): void;
  /**
   * The peer is down and has not accepted it. `written`: it may have it all the same. Returns what is still
   * due to the peer and goes to its outbox, or null; `accept` follows. Without this method the frame
   * itself is due if it is durable.
   */
  onDown?(frame: Buffer, written: boolean): Buffer | null;
  /**
   * The peer says by itself that it has accepted this one, whatever is before it in the stream. For what a node waits for
   * before it accepts a forward of another: nodes whose streams wait for each other would wait for ever.
   */
  readonly alone?: boolean;
  /** When the forward is worth nothing any more, on the node's monotonic clock; 0: never. */
  readonly expiresMs: number;
}

/** What forwards that leave together have in common: bytes alone when they lie side by side. */
export type PartHead = Buffer | SpreadHead;

/** This node, where a peer's index may stand. */
export const ownIndex = -1;

/** What routing uses of the cluster. Peers are known by a small index, stable while the process lives. */
export interface ClusterPort {
  /** The number of the next QoS ≥ 1 publish of this node (docs/wire.md, "Numbers and stamps"). */
  nextCounter(): number;
  /** Hybrid-logical-clock stamp, higher than any before or seen from a peer. */
  nextStamp(): number;
  /** Takes note of a stamp from a peer or the store. */
  observeStamp(stamp: number): void;
  /** Sends a forward that nobody waits for. False: dropped and counted, the peer is away or too slow. */
  send(peer: number, frame: Buffer): boolean;
  /**
   * Puts a forward at the end of the stream to a peer. True: `receipt.accept()` comes once, later. False:
   * nothing to wait for (dropped and counted because the peer is down and the row is not durable, or taken
   * by an outbox that is in memory only).
   */
  sendNumbered(
    peer: number,
    counter: number,
    frame: Buffer,
    durable: boolean,
    receipt: Receipt,
  ): boolean;
  /**
   * Sends the forward in `bytes` from `start` to `end`, which stay as they are until the end of this turn.
   * Those that lie side by side behind the same `head`, and have growing numbers, leave in one frame; when all have
   * the same `kind`, other than 0, it says that they are alike (docs/wire.md, "FORWARDS"). With a `SpreadHead` they need not lie side
   * by side, nor have all numbers ("FORWARDS_SPREAD"; `durable` is false). `receipt` null: nobody waits (`counter` is 0), as
   * `send`; else as `sendNumbered`.
   */
  sendPart(
    peer: number,
    head: PartHead,
    counter: number,
    bytes: Buffer,
    start: number,
    end: number,
    kind: number,
    durable: boolean,
    receipt: Receipt | null,
  ): boolean;
  /** Is there room in the outbox of this peer for `bytes` more? */
  hasRoom(peer: number, bytes: number): boolean;
  /** Every other member that is joining, up or suspect. */
  livePeers(): readonly number[];
  /** The name of a peer; of this node for `ownIndex`. */
  nameOf(peer: number): string;
  /** Sets this node's own row; 0 deletes it. */
  setRow(key: string, value: number): void;
  /** Calls `done` when all up and suspect peers hold every row set so far; at once when they do. */
  whenSynced(done: () => void): void;
  /** Tells a peer something outside the streams. Lost if the link breaks. */
  tell(peer: number, body: Uint8Array): void;
  /** Bytes for a peer that its control connection has not taken yet; infinite: there is no link. */
  tellBacklog(peer: number): number;
  /** The forward counter of this peer was accepted, after `onForward` had returned false. */
  forwardAccepted(peer: number, incarnation: number, counter: number): void;
}

/** Where the numbers of a peer's forwards are noted. */
export interface ForwardTaker {
  /** Is this number new? Takes note of it. */
  take(incarnation: number, counter: number): boolean;
  /** The number just taken was accepted at once (or not yet: `forwardAccepted` follows). */
  settle(counter: number, accepted: boolean): void;
  /** Would `take` say that it is new? */
  isNew(incarnation: number, counter: number): boolean;
  /** Takes new numbers up to this one, all of which were accepted at once. */
  takeUpTo(incarnation: number, counter: number): void;
}

/** What the cluster asks of routing. */
export interface ClusterUser {
  /**
   * A forward from a peer: `bytes` from `start` to `end` (valid during this call only). True: accepted now.
   * False: `forwardAccepted` will be called for it, once. With `counter` 0 nobody waits. Bytes that make
   * no sense are counted and dropped: refusing them would have them repeated for ever.
   */
  onForward(
    peer: number,
    incarnation: number,
    counter: number,
    bytes: Buffer,
    start: number,
    end: number,
  ): boolean;
  /**
   * Forwards from a peer that were sent by `sendPart`: the head, and `count` of them one behind the other. Each number
   * from `counter` on is taken and settled with `taker`, unless `counter` is 0. Bytes as with `onForward`.
   */
  onForwards(
    peer: number,
    incarnation: number,
    counter: number,
    count: number,
    alike: boolean,
    bytes: Buffer,
    start: number,
    end: number,
    taker: ForwardTaker,
  ): void;
  /** The same of forwards that were sent with a `SpreadHead`, the first with the number `counter`. */
  onForwardsSpread(
    peer: number,
    incarnation: number,
    counter: number,
    bytes: Buffer,
    start: number,
    end: number,
    taker: ForwardTaker,
  ): void;
  /** A frame that expires is about to be sent, perhaps after it waited: its rest is written into it. */
  countDownForward(frame: Buffer, expiresMs: number): void;
  /** Is somebody behind this row who outlives his connection? Then it is stored. */
  isDurableRow(key: string, value: number): boolean;
  /** Sets a peer's row (0 deletes it); returns the value it had. Throws WireError on another value. */
  setPeerRow(peer: number, key: string, value: number): number;
  /**
   * The keys of all rows of the peer. It walks through more than these, and gives `undefined` for the others, so that
   * who reads on can stop in time. Rows may be set and deleted meanwhile.
   */
  peerRowKeys(peer: number): Iterable<string | undefined>;
  /**
   * How this node sees a peer from now on; down until something else was said, and when it is no member
   * any more.
   */
  onPeerState(peer: number, state: PeerState): void;
  /** A link to the peer is up and both sides hold each other's rows. */
  onPeerUp(peer: number): void;
  /** The link to the peer takes forwards; comes every now and then. */
  onPeerReady(peer: number): void;
  /** Something a peer told us. Counted and dropped when it makes no sense. */
  onTold(peer: number, body: Buffer): void;
}
