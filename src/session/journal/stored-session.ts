/**
 * One session as its partition says: read row by row, and put together. Of messages only sizes and places are taken into
 * memory. What cannot be read is left out and counted; the rest of the session stays.
 */
import { isShared } from "../../protocol/topics.js";
import { keyNumber } from "../../store/keys.js";
import { openRecord } from "../../store/record.js";
import type { Row, Store } from "../../store/store.js";
import { type Claim, claimOf, claimPrefix } from "../adoption/claims.js";
import { type AdoptedNote, adoptedKey, decodeAdopted } from "../adoption/notes.js";
import type { SessionHost } from "../host.js";
import { decodeLeftovers, type LeftoversNote, leftoversKey } from "../move/leftovers.js";
import { decodeNote, type MoveNote, movedKey, movingKey, willKey } from "../move/notes.js";
import { replayOf } from "../replays.js";
import { Session } from "../session.js";
import { successionKey } from "../superseded/succession.js";
import { Awaiting } from "../window.js";
import { decodeHeld, type HeldWill } from "../will-record.js";
import { checkpointKey } from "./checkpoint.js";
import { logPrefix, type SessionJournal } from "./journal.js";
import type { Journals } from "./journals.js";
import { firstSeqOf, logVersion, readLog } from "./log-record.js";
import { LogState } from "./log-state.js";
import {
  decodeMeta,
  decodeSubscription,
  metaKey,
  type SessionMeta,
  type StoredSubscription,
  subscriptionPrefix,
} from "./meta.js";

/** What the rows of a partition say. */
export interface StoredSession {
  readonly log: LogState;
  readonly subscriptions: StoredSubscription[];
  /** Number and first message of each record of the log, in order. */
  readonly records: [number: number, firstSeq: number][];
  meta: SessionMeta | null;
  moving: MoveNote | null;
  moved: MoveNote | null;
  will: HeldWill | null;
  succession: Buffer | null;
  /** It came while members were down. */
  leftovers: LeftoversNote | null;
  /** Who wants to adopt it, or has, in the order in which they said so. */
  readonly claims: Claim[];
  /** It was adopted here, and not all is done that belongs to that. */
  adopted: AdoptedNote | null;
}

/** What an origin is called here, by its name in the records that are read. */
export type OriginNames = (name: string) => string;

export const sameNames: OriginNames = (name) => name;

const rowsAtOnce = 256;

export class StoredSessions {
  constructor(
    private readonly host: SessionHost,
    private readonly journals: Journals,
  ) {}

  /** Reads a whole partition. `onRow` is told of each row too. Rejects when the store cannot be read. */
  async read(
    store: Pick<Store, "read">,
    partition: string,
    onRow: (row: Row) => void = () => undefined,
  ): Promise<StoredSession> {
    const log = new LogState(this.host.router.topics, this.journals.wallOffsetMs());
    const stored: StoredSession = {
      ...{ log, subscriptions: [], records: [], meta: null, claims: [], adopted: null },
      ...{ moving: null, moved: null, will: null, succession: null, leftovers: null },
    };
    let from = "";
    for (;;) {
      const rows = await store.read(partition, from, rowsAtOnce);
      for (const row of rows) {
        this.take(stored, row);
        onRow(row);
      }
      const last = rows.at(-1);
      if (last === undefined || rows.length < rowsAtOnce) return stored;
      from = `${last[0]}\0`;
    }
  }

  /**
   * A session out of what was read, which must hold its meta, with a journal and without subscriptions. Incoming QoS 2 messages
   * that are not known to be accepted are among its open ones.
   */
  build(
    clientId: string,
    stored: StoredSession,
    meta: SessionMeta,
    names: OriginNames = sameNames,
  ): Session {
    const { host } = this;
    const { user, rules } = meta;
    const session = new Session(clientId, user, host);
    session.journal = this.journals.open(session);
    session.rules = rules;
    session.access = host.authorizer.accessOf({ clientId, user, rules });
    session.expiryMs = meta.expiryMs;
    session.epoch = meta.epoch;
    session.connectedEpoch = meta.connectedEpoch ?? meta.epoch;
    session.endDueMs = this.endDueMs(meta);
    this.restoreLog(session, session.journal, stored, names);
    return session;
  }

  /** Subscribes a session that was built, and has retained messages sent where they are still due. */
  subscribe(session: Session, { filter, options, replay }: StoredSubscription): void {
    session.restoreSubscription(filter, options);
    if (!replay || isShared(filter)) return;
    session.noteReplay(filter, true);
    session.replay(replayOf(session, filter, options));
  }

  private take(stored: StoredSession, [key, value]: Row): void {
    if (key === metaKey) stored.meta = decodeMeta(value);
    else if (key === movingKey) stored.moving = decodeNote(value);
    else if (key === movedKey) stored.moved = decodeNote(value);
    else if (key === willKey) stored.will = decodeHeld(value);
    else if (key === successionKey) stored.succession = value;
    else if (key === leftoversKey) stored.leftovers = decodeLeftovers(value);
    else if (key === adoptedKey) stored.adopted = decodeAdopted(value);
    else if (key.startsWith(claimPrefix)) stored.claims.push(claimOf(key, value));
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

  private restoreLog(
    session: Session,
    journal: SessionJournal,
    { log, records }: StoredSession,
    names: OriginNames,
  ): void {
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
    for (const { origin, identity } of log.marks) {
      journal.marks.restore({ ...origin, name: names(origin.name) }, identity);
    }
    for (const taken of log.taken.values()) {
      const origin = { ...taken.origin, name: names(taken.origin.name) };
      journal.marks.shared.restore({ ...taken, origin });
    }
    restoreWindow(session, log);
    for (const [packetId, message] of log.open) session.incoming.add(packetId, message);
  }

  /** The time of one that had a connection runs from now on. */
  private endDueMs({ endsAt, expiryMs }: SessionMeta): number {
    const { clock } = this.journals.parts;
    const leftMs = endsAt === 0 ? expiryMs : Math.min(expiryMs, endsAt - clock.wallMs());
    return this.host.turn.refresh() + leftMs;
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
