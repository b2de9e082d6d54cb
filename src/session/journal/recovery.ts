/**
 * Sessions out of the store when a node starts. Of messages only sizes and places are taken into memory; they are
 * read when their client is back. What cannot be read is left out and counted; the rest of the session stays.
 */
import { isShared } from "../../protocol/topics.js";
import type { Message, Origin } from "../../routing/message.js";
import { keyNumber } from "../../store/keys.js";
import { openRecord } from "../../store/record.js";
import type { Row } from "../../store/store.js";
import { Session } from "../session.js";
import type { SessionHost } from "../host.js";
import { replayOf } from "../replays.js";
import { successionKey } from "../superseded/succession.js";
import { Awaiting } from "../window.js";
import { bodiesPartition } from "./bodies.js";
import { checkpointKey } from "./checkpoint.js";
import { logPrefix, type SessionJournal, sessionPrefix } from "./journal.js";
import type { Journals } from "./journals.js";
import { firstSeqOf, logVersion, readLog } from "./log-record.js";
import { decodeHeld, type HeldWill } from "../will-record.js";
import {
  decodeNote,
  encodeNote,
  type MoveNote,
  movedKey,
  movingKey,
  willKey,
} from "../move/notes.js";
import { LogState } from "./log-state.js";
import {
  decodeMeta,
  decodeSubscription,
  metaKey,
  type SessionMeta,
  type StoredSubscription,
  subscriptionPrefix,
} from "./meta.js";

/** What was taken up so far. */
export interface Loaded {
  readonly sessions: number;
  /** Messages that wait or are in flight. */
  readonly messages: number;
  /** Of all sessions: new ones must be higher. */
  readonly highestEpoch: number;
}

export interface RecoveryHost {
  /** A session was taken up; it is subscribed already. */
  onSession(session: Session): void;
  /** A session's state had been given away to another node. */
  onMoving(session: Session, note: MoveNote): void;
  /** A session had come from another node, which may not know; it may have ended since. */
  onMoved(clientId: string, note: MoveNote): void;
  /** A session had come with a will that may not be among the wills yet. */
  onWill(will: HeldWill): void;
  /** It had begun while an older one could not be reached. */
  onSuccession(session: Session, record: Buffer): void;
  onProgress(loaded: Loaded): void;
}

const partitionsAtOnce = 512;
/** Sessions read at the same time: a store across a network takes its time for each. */
const readsAtOnce = 32;
const rowsAtOnce = 256;
const progressEvery = 10_000;
const bodyRowsAtOnce = 64;

/** What the rows of a partition say. */
interface StoredSession {
  readonly log: LogState;
  readonly subscriptions: StoredSubscription[];
  /** Number and first message of each record of the log, in order. */
  readonly records: [number: number, firstSeq: number][];
  meta: SessionMeta | null;
  moving: MoveNote | null;
  moved: MoveNote | null;
  will: HeldWill | null;
  succession: Buffer | null;
}

export class Recovery {
  /** Incoming QoS 2 messages not known to be accepted by all, in the order of their identities. */
  readonly publishes: Message[] = [];
  private sessions = 0;
  private messages = 0;
  private highestEpoch = 0;

  constructor(
    private readonly host: SessionHost,
    private readonly journals: Journals,
    private readonly events: RecoveryHost,
  ) {}

  private get loaded(): Loaded {
    const { sessions, messages, highestEpoch } = this;
    return { sessions, messages, highestEpoch };
  }

  /** Rejects when the store cannot be read. */
  async run(): Promise<Loaded> {
    const { store } = this.journals.parts;
    let after: string | undefined;
    for (;;) {
      const names = await store.partitions(sessionPrefix, after, partitionsAtOnce);
      for (let i = 0; i < names.length; i += readsAtOnce) {
        await Promise.all(names.slice(i, i + readsAtOnce).map((name) => this.restore(name)));
      }
      after = names.at(-1);
      if (names.length < partitionsAtOnce) break;
    }
    await this.restoreBodies();
    this.publishes.sort(byIdentity);
    return this.loaded;
  }

  private async restore(partition: string): Promise<void> {
    const stored = await this.read(partition);
    const clientId = partition.slice(sessionPrefix.length);
    const { meta, moved } = stored;
    if (moved !== null) this.events.onMoved(clientId, moved);
    if (meta === null && moved !== null) return;
    if (meta === null || meta.expiryMs <= 0) {
      if (meta === null) this.tellUnreadable(clientId);
      this.discard(clientId);
      return;
    }
    const session = new Session(clientId, meta.user, this.host);
    session.journal = this.journals.open(session);
    session.rules = meta.rules;
    session.access = this.host.authorizer.accessOf({
      clientId,
      user: meta.user,
      rules: meta.rules,
    });
    session.expiryMs = meta.expiryMs;
    session.epoch = meta.epoch;
    session.journal.storedEpoch = meta.epoch;
    session.endDueMs = this.endDueMs(meta);
    this.restoreLog(session, stored);
    for (const one of stored.subscriptions) this.subscribe(session, one);
    this.highestEpoch = Math.max(this.highestEpoch, meta.epoch);
    this.messages += session.queued + session.window.inFlight;
    this.events.onSession(session);
    this.restoreMove(session, session.journal, stored);
    if (stored.succession !== null) this.events.onSuccession(session, stored.succession);
    if (++this.sessions % progressEvery === 0) this.events.onProgress(this.loaded);
  }

  private restoreMove(
    session: Session,
    journal: SessionJournal,
    { moving, moved, will }: StoredSession,
  ): void {
    if (moving !== null) this.events.onMoving(session, moving);
    if (moved !== null) journal.noteForGood(movedKey, encodeNote(moved));
    if (will === null) return;
    this.events.onWill(will);
    journal.note(willKey, null);
  }

  private async read(partition: string): Promise<StoredSession> {
    const { store } = this.journals.parts;
    const log = new LogState(this.host.router.topics, this.journals.wallOffsetMs());
    const stored: StoredSession = {
      ...{ log, subscriptions: [], records: [], meta: null },
      ...{ moving: null, moved: null, will: null, succession: null },
    };
    let from = "";
    for (;;) {
      const rows = await store.read(partition, from, rowsAtOnce);
      for (const row of rows) this.take(stored, row);
      const last = rows.at(-1);
      if (last === undefined || rows.length < rowsAtOnce) return stored;
      from = `${last[0]}\0`;
    }
  }

  private take(stored: StoredSession, [key, value]: Row): void {
    if (key === metaKey) stored.meta = decodeMeta(value);
    else if (key === movingKey) stored.moving = decodeNote(value);
    else if (key === movedKey) stored.moved = decodeNote(value);
    else if (key === willKey) stored.will = decodeHeld(value);
    else if (key === successionKey) stored.succession = value;
    else if (key.startsWith(subscriptionPrefix)) {
      const subscription = decodeSubscription(value);
      if (subscription !== null) stored.subscriptions.push(subscription);
    } else if (key === checkpointKey) this.takeLog(stored.log, 0, value);
    else if (key.startsWith(logPrefix)) {
      const number = keyNumber(key.slice(logPrefix.length));
      const firstSeq = this.takeLog(stored.log, number, value);
      stored.records.push([number, firstSeq]);
    }
  }

  /** Returns the number of the first message of the record. */
  private takeLog(log: LogState, number: number, record: Buffer): number {
    const before = log.nextSeq;
    const body = openRecord(logVersion, record);
    if (body === null) return before;
    log.begin(number);
    try {
      const next = readLog(body, log);
      if (next > log.nextSeq) log.nextSeq = next;
      return firstSeqOf(body);
    } catch {
      this.host.counters.readsFailed++;
      return before;
    }
  }

  private restoreLog(session: Session, { log, records }: StoredSession): void {
    const { journal } = session;
    if (journal === null) return;
    for (const [number, firstSeq] of records) journal.index.push(number, firstSeq);
    const inFlight = log.inFlightSeqs();
    for (const [seq, { size, expiresMs, body }] of log.live) {
      journal.index.restoreLive(seq);
      if (body !== 0) this.journals.bodies?.restorePointer(body);
      if (inFlight.has(seq)) continue;
      if (session.pages === null) session.makeQueue();
      session.pages?.restore(seq, size, expiresMs, body);
    }
    journal.index.pack();
    session.pages?.pack();
    journal.nextSeq = log.nextSeq;
    journal.nextRecord = Math.max(records.at(-1)?.[0] ?? 0, log.through) + 1;
    journal.committedRecord = journal.nextRecord - 1;
    for (const { origin, identity } of log.marks) journal.marks.restore(origin, identity);
    for (const taken of log.taken.values()) journal.marks.shared.restore(taken);
    restoreWindow(session, log);
    for (const [packetId, message] of log.open) {
      session.incoming.add(packetId, message);
      if (message === null) continue;
      message.sink = { onAccepted: (accepted) => session.settleQos2(accepted) };
      message.pending = 1;
      this.publishes.push(message);
    }
  }

  private subscribe(session: Session, { filter, options, replay }: StoredSubscription): void {
    session.restoreSubscription(filter, options);
    if (!replay || isShared(filter)) return;
    session.noteReplay(filter, true);
    session.replay(replayOf(session, filter, options));
  }

  /** The time of one that had a connection runs from now on. */
  private endDueMs({ endsAt, expiryMs }: SessionMeta): number {
    const { clock } = this.journals.parts;
    const leftMs = endsAt === 0 ? expiryMs : Math.min(expiryMs, endsAt - clock.wallMs());
    return this.host.turn.refresh() + leftMs;
  }

  private discard(clientId: string): void {
    const orphan = new Session(clientId, "", this.host);
    this.journals.open(orphan).end(() => undefined);
  }

  private tellUnreadable(clientId: string): void {
    this.host.counters.readsFailed++;
    this.journals.parts.log.error({ clientId }, "a session cannot be read and is discarded");
  }

  /** Bodies to which nobody points any more are freed. */
  private async restoreBodies(): Promise<void> {
    const { bodies, parts } = this.journals;
    if (bodies === null) return;
    let from = "";
    for (;;) {
      const rows = await parts.store.read(bodiesPartition, from, bodyRowsAtOnce);
      for (const [key] of rows) bodies.restoreRecord(keyNumber(key));
      const last = rows.at(-1);
      if (last === undefined || rows.length < bodyRowsAtOnce) return;
      from = `${last[0]}\0`;
    }
  }
}

function restoreWindow(session: Session, log: LogState): void {
  const { window } = session;
  for (const [id, { seq, qos, released }] of log.window) {
    const state = released ? Awaiting.Pubcomp : qos === 2 ? Awaiting.Pubrec : Awaiting.Puback;
    window.restoreStored(id, state, seq, log.live.get(seq)?.body ?? 0);
  }
  window.restoreNext(log.nextId);
  window.restoreReleased(log.receipts.filter((id) => log.window.get(id)?.released === true));
}

function byIdentity(one: Message, other: Message): number {
  const incarnation = (origin: Origin | null): number => origin?.incarnation ?? 0;
  const byOrigin = incarnation(one.origin) - incarnation(other.origin);
  return byOrigin !== 0 ? byOrigin : one.identity - other.identity;
}
