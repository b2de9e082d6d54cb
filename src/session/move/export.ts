/**
 * A session's whole state, taken in one turn: what happens to it afterwards is not part of it. Messages of a session with
 * a journal are read from there when all of them are committed, and as they were in that turn.
 */
import type { Position } from "../../cluster/position.js";
import { committedOrigin, ownOrigins } from "../../routing/origins.js";
import type { Message } from "../../routing/message.js";
import type { Marks } from "../journal/marks.js";
import type { Session } from "../session.js";
import { SessionQueue } from "../queue.js";
import type { Succession } from "../superseded/succession.js";
import { Awaiting } from "../window.js";
import type { LateMark } from "./late.js";
import {
  encodeHead,
  encodeSubscriptions,
  MessageParts,
  type SnapshotHead,
  type SnapshotMark,
  type SnapshotMessage,
  type SnapshotSubscription,
  type SnapshotTaken,
  snapshotVersion,
} from "./snapshot.js";

/** The parts of a snapshot as they are sent. */
export interface SnapshotParts {
  readonly head: Buffer;
  readonly subscriptions: readonly Buffer[];
  readonly messages: readonly Buffer[];
  /** Of each part with messages the number of its last one: in the journal, or else in the queue. */
  readonly ends: readonly number[];
}

/** A snapshot whose messages have still to be read. */
export interface TakenSnapshot {
  /** What comes later is not part of it. */
  readonly late: LateMark;
  /** Null: its store cannot be read. To be called when all that happened so far is durable. */
  read(): Promise<SnapshotParts | null>;
}

/**
 * Takes the state of a session without connection, or with one that is held. `self`: the name of this node; `positions`: what was taken here of each
 * origin so far; `afterSeq`: of a session with a journal only messages with higher numbers.
 */
export function takeSnapshot(
  session: Session,
  self: string,
  positions: readonly Position[],
  afterSeq = 0,
): TakenSnapshot {
  const nowMs = session.host.turn.refresh();
  const head = headOf(session, self, positions, nowMs);
  const subscriptions = encodeSubscriptions(subscriptionsOf(session));
  const taken = takenOf(session, self);
  const finish = (parts: MessageParts, places: ReadonlyMap<number, number>): SnapshotParts => {
    const messages = parts.close();
    const placed = taken.map(({ seq, ...one }) => ({ ...one, place: places.get(seq) ?? -1 }));
    return {
      head: encodeHead({ ...head, taken: placed, messages: parts.count }),
      ...{ subscriptions, messages, ends: parts.ends },
    };
  };
  if (session.journal !== null) {
    const placed = new Set(taken.map(({ seq }) => seq));
    const reading = new StoredReading(session, session.journal, placed, afterSeq);
    return {
      late: { nextSeq: session.journal.nextSeq, last: null },
      read: async () => {
        const parts = await reading.read();
        return parts === null ? null : finish(parts, reading.places);
      },
    };
  }
  const parts = finish(messagesInMemory(session, nowMs), new Map());
  return { late: { nextSeq: 0, last: lastOf(session) }, read: () => Promise.resolve(parts) };
}

function lastOf({ queue }: Session): Message | null {
  if (!(queue instanceof SessionQueue)) return null;
  let last: Message | null = null;
  for (const [message] of queue.entries()) last = message;
  return last;
}

/** The filters of a session as the new owner subscribes to them. */
export function* subscriptionsOf(session: Session): Iterable<SnapshotSubscription> {
  const replaying = new Set(session.replaying);
  for (const [filter, options] of session.subscriptions) {
    const replay = session.isReplayDue(filter) || replaying.has(filter);
    const { qos, noLocal, retainAsPublished, subscriptionId } = options;
    yield { filter, qos, noLocal, retainAsPublished, subscriptionId, replay };
  }
}

function headOf(
  session: Session,
  self: string,
  positions: readonly Position[],
  nowMs: number,
): SnapshotHead {
  const { clientId, user, rules, epoch, expiryMs, window, endDueMs } = session;
  const inFlight: { id: number; state: 1 | 2 | 3 }[] = [];
  for (const id of window.ids()) {
    const state = window.stateOf(id);
    if (state !== Awaiting.Nothing) inFlight.push({ id, state });
  }
  return {
    version: snapshotVersion,
    ...{ clientId, user, epoch, expiryMs, inFlight, messages: 0 },
    rules: rules === null ? null : [...rules],
    endsInMs: endDueMs === Number.POSITIVE_INFINITY ? -1 : Math.max(0, endDueMs - nowMs),
    connected: session.channel !== null,
    succession: session.succession && plainSuccession(session.succession),
    durable: session.journal !== null,
    will: willOf(session, nowMs),
    nextId: window.nextId,
    released: window.released(),
    open: [...session.openPublishes()].map(([packetId]) => packetId),
    marks: marksOf(session, self, positions),
    taken: [],
  };
}

const plainSuccession = (note: Succession): SnapshotHead["succession"] => ({
  ...note,
  // A session in doubt does not move.
  giving: null,
  taken: [...note.taken],
  nodes: [...note.nodes],
  cuts: note.cuts === null ? null : [...note.cuts],
});

function willOf({ will, willDueMs }: Session, nowMs: number): SnapshotHead["will"] {
  if (will === null) return null;
  const waits = willDueMs !== Number.POSITIVE_INFINITY;
  return {
    ...will,
    expirySeconds: will.expirySeconds ?? -1,
    dueInMs: waits ? Math.max(0, willDueMs - nowMs) : -1,
  };
}

/**
 * What it has taken, and what was offered to it: all that this node has taken of a stream. Names are those that others
 * give: what is our own stands behind our name.
 */
function marksOf(session: Session, self: string, positions: readonly Position[]): SnapshotMark[] {
  const marks = new Map<string, SnapshotMark>();
  // Of earlier processes, which come first (`Marks.all`).
  const earlier: SnapshotMark[] = [];
  const add = (mark: SnapshotMark): void => {
    const before = marks.get(mark.name);
    if (before !== undefined && !isHigher(mark, before)) return;
    if (before !== undefined && mark.name.endsWith(committedOrigin)) earlier.push(before);
    marks.set(mark.name, mark);
  };
  for (const { name, incarnation, identity } of marksIn(session)?.all() ?? []) {
    add({ name: nameElsewhere(name, self), incarnation, identity });
  }
  for (const { origin: name, incarnation, counter: identity } of positions) {
    if (incarnation > 0) add({ name, incarnation, identity });
  }
  return [...earlier, ...marks.values()];
}

function takenOf(session: Session, self: string): (Omit<SnapshotTaken, "place"> & TakenAt)[] {
  return [...(marksIn(session)?.taken() ?? [])].map(({ origin, identity, share, seq }) => {
    const name = nameElsewhere(origin.name, self);
    return { name, incarnation: origin.incarnation, identity, share, seq };
  });
}

const marksIn = ({ journal, marks }: Session): Marks | null => journal?.marks ?? marks;

const nameElsewhere = (name: string, self: string): string =>
  ownOrigins.includes(name) ? self + name : name;

function isHigher(one: SnapshotMark, other: SnapshotMark): boolean {
  if (one.incarnation !== other.incarnation) return one.incarnation > other.incarnation;
  return one.identity > other.identity;
}

function messagesInMemory({ window, queue }: Session, nowMs: number): MessageParts {
  const parts = new MessageParts();
  const add = (one: SnapshotMessage): unknown => parts.add(one, nowMs, parts.count + 1);
  for (const id of window.ids()) {
    const message = window.messageOf(id);
    const delivery = window.deliveryOf(id);
    if (window.stateOf(id) === Awaiting.Pubcomp || message === null || delivery === null) continue;
    add({ packetId: id, message, delivery });
  }
  if (queue instanceof SessionQueue) {
    for (const [message, delivery] of queue.entries()) {
      add({ packetId: 0, message, delivery });
    }
  }
  return parts;
}

/** The messages of a journal that were due in one turn. */
class StoredReading {
  /** Number of a message → its place among those that were read. */
  readonly places = new Map<number, number>();
  /** Of those in flight: number of a message → its packet id. */
  private readonly inFlight = new Map<number, number>();
  /** For each number from the first one on whether the message waits: there may be millions. */
  private readonly waiting: Uint8Array;
  private readonly first: number;
  private readonly count: number;

  constructor(
    private readonly session: Session,
    private readonly journal: NonNullable<Session["journal"]>,
    /** Numbers of the messages whose places are asked for. */
    private readonly placed: ReadonlySet<number>,
    afterSeq: number,
  ) {
    const { window, pages } = session;
    for (const id of window.ids()) {
      const seq = window.seqOf(id);
      if (window.stateOf(id) !== Awaiting.Pubcomp && seq > afterSeq) this.inFlight.set(seq, id);
    }
    this.first = journal.index.firstSeqAt(0);
    this.waiting = new Uint8Array(Math.max(0, journal.nextSeq - this.first));
    let count = 0;
    for (const seq of pages?.seqs() ?? []) {
      if (seq <= afterSeq) continue;
      this.waiting[seq - this.first] = 1;
      count++;
    }
    this.count = count + this.inFlight.size;
  }

  async read(): Promise<MessageParts | null> {
    const { journal, session } = this;
    const parts = new MessageParts();
    if (this.count === 0) return parts;
    const isRead = await journal.journals.pages.visit(
      journal,
      (seq) => this.waiting[seq - this.first] === 1 || this.inFlight.has(seq),
      () => true,
      (seq, message, delivery) => {
        const packetId = this.inFlight.get(seq) ?? 0;
        const nowMs = session.host.turn.refresh();
        const place = parts.add({ packetId, message, delivery }, nowMs, seq);
        if (this.placed.has(seq)) this.places.set(seq, place);
      },
    );
    return isRead ? parts : null;
  }
}

interface TakenAt {
  /** The number of the message in the journal; 0: it is not there any more. */
  readonly seq: number;
}
