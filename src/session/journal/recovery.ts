/**
 * Sessions out of the store when a node starts. Of messages only sizes and places are taken into memory; they are
 * read when their client is back. What cannot be read is left out and counted; the rest of the session stays.
 */
import type { Message, Origin } from "../../routing/message.js";
import { keyNumber } from "../../store/keys.js";
import type { AdoptedNote } from "../adoption/notes.js";
import { type Claim, highestOf, ownerOf } from "../adoption/claims.js";
import { Session } from "../session.js";
import type { SessionHost } from "../host.js";
import { bodiesPartition } from "./bodies.js";
import { sessionPrefix } from "./journal.js";
import type { Journals } from "./journals.js";
import type { HeldWill } from "../will-record.js";
import type { LeftoversNote } from "../move/leftovers.js";
import { encodeNote, type MoveNote, movedKey, willKey } from "../move/notes.js";
import type { StoredSubscription } from "./meta.js";
import { type StoredSession, StoredSessions } from "./stored-session.js";

/** What was taken up so far. */
export interface Loaded {
  readonly sessions: number;
  /** Messages that wait or are in flight. */
  readonly messages: number;
  /** Of all sessions: new ones must be higher. */
  readonly highestEpoch: number;
}

export interface RecoveryHost {
  /** A session was taken up; it is subscribed already, unless `onAdopted` follows. */
  onSession(session: Session): void;
  /** A session's state had been given away to another node. */
  onMoving(session: Session, note: MoveNote): void;
  /** A session had come from another node, which may not know; it may have ended since. */
  onMoved(clientId: string, note: MoveNote): void;
  /** A session had come with a will that may not be among the wills yet. */
  onWill(will: HeldWill): void;
  /** It had begun while an older one could not be reached. */
  onSuccession(session: Session, record: Buffer): void;
  /** It had come while members were down, which may still have something for it. */
  onLeftovers(session: Session, note: LeftoversNote): void;
  /** While this node was down others wanted to adopt it, and one of them may have. */
  onClaimed(session: Session, claims: readonly Claim[]): void;
  /** It was adopted from another node, which is not over yet: it is not subscribed, unless it is whole. */
  onAdopted(
    session: Session,
    note: AdoptedNote,
    subscriptions: readonly StoredSubscription[],
  ): void;
  onProgress(loaded: Loaded): void;
}

const partitionsAtOnce = 512;
/** Sessions read at the same time: a store across a network takes its time for each. */
const readsAtOnce = 32;
const progressEvery = 10_000;
const bodyRowsAtOnce = 64;

export class Recovery {
  /** Incoming QoS 2 messages not known to be accepted by all, in the order of their identities. */
  readonly publishes: Message[] = [];
  private readonly stored: StoredSessions;
  private sessions = 0;
  private messages = 0;
  private highestEpoch = 0;

  constructor(
    private readonly host: SessionHost,
    private readonly journals: Journals,
    private readonly events: RecoveryHost,
  ) {
    this.stored = new StoredSessions(host, journals);
  }

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
    const stored = await this.stored.read(this.journals.parts.store, partition);
    const clientId = partition.slice(sessionPrefix.length);
    const { meta, moved } = stored;
    if (moved !== null) this.events.onMoved(clientId, moved);
    if (meta === null && moved !== null) return;
    if (meta === null || meta.expiryMs <= 0) {
      if (meta === null && stored.claims.length === 0) this.tellUnreadable(clientId);
      this.discard(clientId, stored);
      return;
    }
    const session = this.stored.build(clientId, stored, meta);
    const highest = Math.max(meta.epoch, highestOf(stored.claims));
    if (session.journal !== null) session.journal.storedEpoch = highest;
    if (ownerOf(stored.claims) === null) this.restorePublishes(session);
    if (stored.adopted === null || stored.adopted.isWhole === true) {
      for (const one of stored.subscriptions) this.stored.subscribe(session, one);
    }
    this.highestEpoch = Math.max(this.highestEpoch, highest);
    this.messages += session.queued + session.window.inFlight;
    this.events.onSession(session);
    this.restoreNotes(session, stored);
    if (++this.sessions % progressEvery === 0) this.events.onProgress(this.loaded);
  }

  private restoreNotes(session: Session, stored: StoredSession): void {
    const { moving, moved, will, succession, leftovers, claims, adopted, subscriptions } = stored;
    const { events } = this;
    const isOthers = ownerOf(claims) !== null;
    if (moving !== null && !isOthers) events.onMoving(session, moving);
    if (moved !== null) session.journal?.noteForGood(movedKey, encodeNote(moved));
    if (will !== null) {
      events.onWill(will);
      session.journal?.note(willKey, null);
    }
    if (succession !== null) events.onSuccession(session, succession);
    if (leftovers !== null) events.onLeftovers(session, leftovers);
    if (claims.length > 0) events.onClaimed(session, claims);
    if (adopted !== null) events.onAdopted(session, adopted, subscriptions);
  }

  private restorePublishes(session: Session): void {
    for (const [, message] of session.openPublishes()) {
      if (message === null) continue;
      message.sink = { onAccepted: (accepted) => session.settleQos2(accepted) };
      message.pending = 1;
      this.publishes.push(message);
    }
  }

  private discard(clientId: string, { claims }: StoredSession): void {
    const orphan = new Session(clientId, "", this.host);
    const journal = this.journals.open(orphan);
    journal.storedEpoch = highestOf(claims);
    journal.end(() => undefined);
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

function byIdentity(one: Message, other: Message): number {
  const incarnation = (origin: Origin | null): number => origin?.incarnation ?? 0;
  const byOrigin = incarnation(one.origin) - incarnation(other.origin);
  return byOrigin !== 0 ? byOrigin : one.identity - other.identity;
}
