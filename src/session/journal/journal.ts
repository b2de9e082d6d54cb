/**
 * What makes one persistent session durable. Everything that happens to the session is noted here; with each group
 * commit it goes to the store as one record, and only then are those told who wait for it: publishers whose
 * messages the session took, and the client (PUBLISH with QoS 2, PUBREL, PUBCOMP). A session that ends
 * takes its whole partition with it.
 */
import type { Message } from "../../routing/message.js";
import type { Delivery } from "../../routing/targets.js";
import { AckType } from "../../protocol/acks.js";
import { ReasonCode } from "../../protocol/reason-codes.js";
import { assert } from "../../lib/assert.js";
import { numberKey } from "../../store/keys.js";
import { sealRecord } from "../../store/record.js";
import type { Journaled } from "../../store/journaled.js";
import type { Operation, Row } from "../../store/store.js";
import type { Session } from "../session.js";
import { Answer, type Batch } from "./batch.js";
import { checkpointKey, checkpointOf } from "./checkpoint.js";
import type { Journals } from "./journals.js";
import { LogIndex } from "./log-index.js";
import { Event, logVersion } from "./log-record.js";
import { Marks } from "./marks.js";
import { encodeMeta, encodeSubscription, metaKey, subscriptionKey } from "./meta.js";

export const sessionPrefix = "session/";
export const logPrefix = "log/";
/** Behind every key of a partition. */
const lastKey = "\u{10ffff}";
/** A record ends when it is so long; a page of a queue is a few of them. */
const recordBytes = 64 * 1024;
/** A checkpoint is due when so many records hold nothing that is due. */
const deadMax = 64;
/** When the store could not be read, it is asked again after so long. */
const readAgainMs = 1000;

const nothing: readonly Row[] = [];

export class SessionJournal implements Journaled {
  touched = false;
  readonly index = new LogIndex();
  readonly marks = new Marks();
  /** The number of the next message that the session takes, and of the next record. */
  nextSeq = 1;
  nextRecord = 1;
  /** The session's epoch as it was written last; 0: never. */
  storedEpoch = 0;
  /** Records up to this number are in the store. */
  committedRecord = 0;
  /** The body record of the message that was taken last; 0: the log itself holds it. */
  takenBody = 0;
  private gathering: Batch | null = null;
  private committing: Batch | null = null;
  private metaDue = false;
  private subscriptionsDue: Set<string> | null = null;
  private notesDue: Map<string, Buffer | null> | null = null;
  private keptNotes: Map<string, Buffer> | null = null;
  private adoptedRows = nothing;
  private checkpointDue = false;
  private state: "open" | "ending" | "over" = "open";
  /** Called when the session's end is committed. */
  private onEnded: (() => void) | null = null;
  private pageUnderWay = false;
  /** Messages on their way to other members of a share group, and who waits for the last to arrive. */
  private giving = 0;
  private onGiven: (() => void)[] | null = null;
  /** A connection is about to attach: what was read for it stays in memory. */
  private attaching = 0;
  /** The number of the last record of the commit under way. */
  private collectedRecord = 0;

  constructor(
    readonly session: Session,
    readonly journals: Journals,
  ) {}

  get partition(): string {
    return `${sessionPrefix}${this.session.clientId}`;
  }

  /** The epoch in the store, not a newer one: a session that is loaded again must be able to write. */
  get fence(): number | undefined {
    return this.storedEpoch === 0 ? undefined : this.storedEpoch;
  }

  get online(): boolean {
    return this.session.channel !== null;
  }

  /** Everything that happened so far is in the store. */
  get isClean(): boolean {
    return !this.touched && this.committing === null;
  }

  /** Takes a message that stays in memory, until it is acknowledged or the client leaves. Returns its number. */
  takeLive(message: Message, delivery: Delivery): number {
    const batch = this.batch();
    if (batch.emptyLength < 0) this.openRecord(batch);
    // The body is written now, from the bytes as they are; `own` may move them.
    this.takeBody(message);
    message.own();
    const seq = this.nextSeq++;
    if (batch.fresh.length === 0) batch.freshFirst = seq;
    batch.fresh.push(message);
    batch.freshDeliveries.push(delivery);
    batch.freshBodies.push(this.takenBody);
    this.index.addLive(1);
    if (message.origin !== null) this.marks.note(message, message.origin, delivery, seq);
    return seq;
  }

  /** Takes a message that is not kept in memory. Returns its number. */
  takeStored(message: Message, delivery: Delivery): number {
    const batch = this.batch();
    this.writeFresh(batch);
    if (batch.writer.length > recordBytes) this.finishRecord(batch);
    if (batch.emptyLength < 0) this.openRecord(batch);
    this.takeBody(message);
    const isShared = this.takenBody !== 0;
    batch.writer.message(message, delivery, isShared, this.journals.wallOffsetMs());
    this.index.addLive(1);
    const seq = this.nextSeq++;
    if (message.origin !== null) this.marks.note(message, message.origin, delivery, seq);
    return seq;
  }

  /** `message.accept()` is called when it is committed. */
  awaitCommit(message: Message): void {
    this.batch().accepts.push(message);
  }

  /**
   * A message comes again that was taken before: is that in the store? If not it is accepted when it is, for who sends it again may
   * be the only one left who has it.
   */
  hasStored(message: Message): boolean {
    if (this.isClean || this.isOver) return true;
    this.awaitCommit(message);
    return false;
  }

  /** A message left under a packet id, or will after the commit (QoS 2). */
  sent(packetId: number, seq: number, qos: number): void {
    const batch = this.batch();
    batch.events.add(qos === 2 ? Event.Sent2 : Event.Sent1, packetId, seq);
    if (qos === 2) batch.answer(Answer.Publish, packetId);
  }

  /** A packet id belongs to a message that was not sent. */
  passed(packetId: number): void {
    this.batch().events.add(Event.Passed, packetId, 0);
  }

  /** An exchange is complete. `seq` 0: its message was not needed any more. */
  done(packetId: number, seq: number, body: number): void {
    this.batch().events.add(Event.Done, packetId, 0);
    if (seq !== 0) this.release(seq, body);
  }

  /** PUBREC came: the message is not needed any more. */
  received(packetId: number, seq: number, body: number): void {
    const batch = this.batch();
    batch.events.add(Event.Received, packetId, 0);
    if (seq !== 0) this.release(seq, body);
  }

  /** PUBREL leaves after the commit. */
  answerPubrel(packetId: number): void {
    this.batch().answer(Answer.Pubrel, packetId);
  }

  /** A message will not be sent. */
  gone(seq: number, body: number): void {
    this.batch().events.add(Event.Gone, seq, 0);
    this.release(seq, body);
  }

  /** A message is another member's of its share group now. `packetId` 0: it waited; else it was in flight. */
  given(packetId: number, seq: number, body: number): void {
    const { events } = this.batch();
    if (packetId !== 0) events.add(Event.Done, packetId, 0);
    events.add(Event.Given, seq, 0);
    this.release(seq, body);
  }

  /**
   * An incoming QoS 2 message: it is published once it is durable that it was taken, and never twice, whatever happens
   * in between. `message.pending` is not 0 then, and `message.sink` is told; or `message.refused`.
   */
  publish(message: Message): void {
    if (this.journals.stalled !== null) {
      message.refused = ReasonCode.QuotaExceeded;
      return;
    }
    const batch = this.batch();
    message.own();
    batch.opened.push(this.journals.publishes.add(message));
    // After the messages taken before it, which the record begins with.
    if (batch.emptyLength < 0) this.openRecord(batch);
    batch.writer.opened(message.packetId, message, this.journals.wallOffsetMs());
  }

  /** An incoming QoS 2 message is accepted by all. */
  accepted(packetId: number): void {
    this.batch().events.add(Event.Accepted, packetId, 0);
  }

  /** An incoming QoS 2 exchange is over. `answers`: PUBCOMP leaves after the commit. */
  released(packetId: number, answers: boolean): void {
    const batch = this.batch();
    batch.events.add(Event.Released, packetId, 0);
    if (answers) batch.answer(Answer.Pubcomp, packetId);
  }

  /** User, expiry or connection are others than before. */
  noteMeta(): void {
    this.metaDue = true;
    this.journals.commits.touch(this);
  }

  /** A record of its own beside the log; null: it goes. */
  note(key: string, value: Buffer | null): void {
    this.notesDue ??= new Map();
    this.notesDue.set(key, value);
    if (value === null) this.keptNotes?.delete(key);
    this.journals.commits.touch(this);
  }

  /** A record of its own that outlives the session, until it is deleted by `note`. */
  noteForGood(key: string, value: Buffer): void {
    this.keptNotes ??= new Map();
    this.keptNotes.set(key, value);
    this.note(key, value);
  }

  /** Everything is new: it goes to the store with a checkpoint, in one write. */
  noteAll(): void {
    this.batch();
    this.checkpointDue = true;
    for (const filter of this.session.subscriptions.keys()) this.noteSubscription(filter);
    this.noteMeta();
  }

  /** Everything is new but the records that are there already, of another node: all goes to the store in one write. */
  noteAdopted(rows: readonly Row[]): void {
    this.adoptedRows = rows;
    this.batch();
    this.checkpointDue = true;
    this.noteMeta();
  }

  /** Another owner has it, or it has ended. */
  get isOver(): boolean {
    return this.state !== "open";
  }

  /** Another owner has it. */
  isFenced = false;

  /** A subscription was made, changed or ended. */
  noteSubscription(filter: string): void {
    this.subscriptionsDue ??= new Set();
    this.subscriptionsDue.add(filter);
    this.journals.commits.touch(this);
  }

  /** A connection is about to attach. */
  get isAttaching(): boolean {
    return this.attaching > 0;
  }

  /** From now on until `attachEnds` messages that are in memory stay there. */
  attachBegins(): void {
    this.attaching++;
  }

  /** The session has its connection, or does not get it. */
  attachEnds(): void {
    this.attaching--;
    if (this.isClean) this.unload();
  }

  /** The connection is gone: what was to be answered on it is not, and nothing is worth its memory. */
  detached(): void {
    this.gathering?.dropAnswers();
    this.committing?.dropAnswers();
    if (this.isClean) this.unload();
  }

  /** A message of a share group is on its way to another member, and here until that one has accepted it. */
  /** Messages are being given to other members of their groups. */
  get isGiving(): boolean {
    return this.giving > 0;
  }

  givingBegins(): void {
    this.giving++;
  }

  givingEnds(): void {
    if (--this.giving > 0) return;
    const waiting = this.onGiven ?? [];
    this.onGiven = null;
    for (const done of waiting) done();
  }

  /** Calls back when nothing is on its way to other members; at once if nothing is. */
  whenGiven(done: () => void): void {
    if (this.giving === 0) done();
    else {
      this.onGiven ??= [];
      this.onGiven.push(done);
    }
  }

  /** The session is over: its partition goes with the next commit, then `done` is called. */
  end(done: () => void): void {
    assert(this.state !== "ending", "a session ends once");
    // Another node, or a later process, has it: there is nothing here to delete.
    if (this.state === "over") {
      done();
      return;
    }
    const { window, pages } = this.session;
    for (const id of window.ids()) this.releaseBody(window.bodyOf(id));
    for (const seq of pages?.seqs() ?? []) this.releaseBody(pages?.bodyOf(seq) ?? 0);
    this.state = "ending";
    this.onEnded = done;
    for (const entry of this.gathering?.opened ?? []) entry.isDropped = true;
    this.journals.commits.touch(this);
  }

  /** The first messages of the queue are fetched; the session is told when they are there. */
  requestPage(): void {
    if (this.pageUnderWay || this.state !== "open") return;
    const first = this.session.pages?.firstStored ?? 0;
    if (first === 0) return;
    const index = Math.max(0, this.index.indexOf(first));
    const number = this.index.numberAt(index);
    // One that is not committed is there when it is: `committed` asks again.
    if (number < 0 || number > this.committedRecord) return;
    this.pageUnderWay = true;
    void this.journals.pages.loadQueue(this, first).then((isRead) => {
      if (isRead) this.pageDone();
      else this.journals.parts.clock.setTimer(readAgainMs, () => this.pageDone());
    });
  }

  collect(into: Operation[]): void {
    const batch = this.gathering;
    this.gathering = null;
    this.committing = batch;
    if (this.state !== "open") {
      if (this.state === "ending") this.collectEnd(into);
      this.state = "over";
      return;
    }
    for (const [key, value] of this.adoptedRows) into.push({ kind: "put", key, value });
    this.adoptedRows = nothing;
    if (batch !== null) this.collectBatch(batch, into);
    if (this.metaDue) {
      into.push({ kind: "put", key: metaKey, value: encodeMeta(this.session) });
      this.storedEpoch = Math.max(this.storedEpoch, this.session.epoch);
      this.metaDue = false;
    }
    if (this.subscriptionsDue !== null) this.collectSubscriptions(this.subscriptionsDue, into);
    for (const [key, value] of this.notesDue ?? []) into.push(noteOperation(key, value));
    this.notesDue = null;
  }

  committed(): void {
    const batch = this.committing;
    this.committing = null;
    if (batch !== null) {
      this.committedRecord = this.collectedRecord;
      this.tell(batch);
      this.journals.batches.give(batch);
    }
    if (this.state === "over") this.ended();
    else if (this.online) this.requestPageIfEmpty();
    else if (this.isClean) this.unload();
  }

  fenced(): void {
    this.state = "over";
    this.isFenced = true;
    const batches = [this.committing, this.gathering];
    for (const batch of batches) {
      for (const entry of batch?.opened ?? []) entry.isDropped = entry.isCommitted = true;
    }
    this.gathering = this.committing = null;
    this.journals.publishes.proceed();
    this.journals.onFenced(this.session);
    for (const batch of batches) if (batch !== null) refuseAll(batch.accepts);
    this.ended();
  }

  private pageDone(): void {
    this.pageUnderWay = false;
    if (this.state === "open") this.session.pump();
  }

  private requestPageIfEmpty(): void {
    const { pages } = this.session;
    if (pages !== null && pages.inMemory === 0 && pages.length > 0) this.session.pump();
  }

  private ended(): void {
    const done = this.onEnded;
    this.onEnded = null;
    done?.();
  }

  /** Everything is in the store and nobody is there to send it to. */
  private unload(): void {
    if (this.online || this.attaching > 0 || this.state !== "open") return;
    this.session.pages?.unload();
    this.session.window.unload();
  }

  private tell(batch: Batch): void {
    const { accepts, opened } = batch;
    for (let i = 0; i < accepts.length; i++) (accepts[i] as Message).accept(); // below length
    if (opened.length > 0) {
      for (const entry of opened) entry.isCommitted = true;
      this.journals.publishes.proceed();
    }
    batch.giveAnswers(this);
  }

  /** An answer that waited for a commit leaves. */
  giveAnswer(kind: number, packetId: number): void {
    const { session } = this;
    const { channel } = session;
    if (channel === null) return;
    if (kind === Answer.Publish) session.sendStored(channel, packetId);
    else if (kind === Answer.Pubrel) channel.acknowledge(AckType.Pubrel, packetId, 0);
    else channel.acknowledge(AckType.Pubcomp, packetId, ReasonCode.Success);
  }

  private batch(): Batch {
    const { gathering } = this;
    if (gathering !== null) return gathering;
    const batch = this.journals.batches.take();
    this.gathering = batch;
    this.journals.commits.touch(this);
    return batch;
  }

  /** Has the body stored once for all sessions, where several get the message. */
  private takeBody(message: Message): void {
    const { bodies } = this.journals;
    if (bodies === null || message.fanOut <= 1) {
      this.takenBody = 0;
      return;
    }
    bodies.take(message);
    this.takenBody = message.body;
  }

  private releaseBody(body: number): void {
    if (body !== 0) this.journals.bodies?.release(body);
  }

  private openRecord(batch: Batch): void {
    this.index.push(this.nextRecord++, this.nextSeq);
    batch.writer.begin(this.nextSeq);
    batch.emptyLength = batch.writer.length;
  }

  private finishRecord(batch: Batch): void {
    if (batch.emptyLength < 0) return;
    batch.emptyLength = -1;
    batch.finished.push({ number: this.nextRecord - 1, bytes: batch.writer.take() });
  }

  /** A message is done with: its record may go when all of it is. */
  private release(seq: number, body: number): void {
    this.index.release(seq);
    const batch = this.gathering;
    if (batch !== null && seq >= batch.freshFirst && seq - batch.freshFirst < batch.fresh.length) {
      batch.fresh[seq - batch.freshFirst] = null;
    }
    this.releaseBody(body);
  }

  /** Writes the messages that are in memory too; those done with already are left out. */
  private writeFresh(batch: Batch): void {
    const { fresh, freshDeliveries, freshBodies, writer } = batch;
    if (fresh.length === 0) return;
    const offset = this.journals.wallOffsetMs();
    let skipped = 0;
    for (let i = 0; i < fresh.length; i++) {
      const message = fresh[i] as Message | null; // below length
      if (message === null) {
        skipped++;
        continue;
      }
      if (writer.length > recordBytes) this.splitRecord(batch, i);
      else if (skipped > 0) writer.skip(skipped);
      skipped = 0;
      const delivery = freshDeliveries[i] as Delivery; // as long as `fresh`
      writer.message(message, delivery, freshBodies[i] !== 0, offset);
    }
    if (skipped > 0) writer.skip(skipped);
    fresh.length = freshDeliveries.length = freshBodies.length = 0;
  }

  /** The record is long enough: the messages in memory from this place on go into another. */
  private splitRecord(batch: Batch, place: number): void {
    const { fresh, freshFirst, writer } = batch;
    let moved = 0;
    for (let i = place; i < fresh.length; i++) if (fresh[i] !== null) moved++;
    this.index.addLive(-moved);
    this.finishRecord(batch);
    this.index.push(this.nextRecord++, freshFirst + place);
    this.index.addLive(moved);
    writer.begin(freshFirst + place);
    batch.emptyLength = writer.length;
  }

  private collectBatch(batch: Batch, into: Operation[]): void {
    if (batch.emptyLength < 0) this.openRecord(batch);
    this.writeFresh(batch);
    batch.writer.events(batch.events);
    this.marks.writeDue(batch.writer);
    if (batch.writer.length === batch.emptyLength) {
      batch.writer.take();
      batch.emptyLength = -1;
      this.index.pop();
      this.nextRecord--;
    } else this.finishRecord(batch);
    for (const { number, bytes } of batch.finished) {
      const key = `${logPrefix}${numberKey(number)}`;
      into.push({ kind: "put", key, value: sealRecord(logVersion, bytes) });
    }
    this.collectedRecord = this.nextRecord - 1;
    if (this.index.dead >= deadMax || this.checkpointDue) this.collectCheckpoint(into);
  }

  private collectEnd(into: Operation[]): void {
    into.push({ kind: "deleteRange", from: "", to: lastKey });
    for (const [key, value] of this.keptNotes ?? []) into.push({ kind: "put", key, value });
  }

  private collectCheckpoint(into: Operation[]): void {
    this.checkpointDue = false;
    const bytes = checkpointOf(this.session, this, this.nextRecord - 1);
    into.push({ kind: "put", key: checkpointKey, value: sealRecord(logVersion, bytes) });
    this.index.sweep((from, to) => {
      into.push({
        kind: "deleteRange",
        from: `${logPrefix}${numberKey(from)}`,
        to: `${logPrefix}${numberKey(to)}`,
      });
    });
  }

  private collectSubscriptions(filters: ReadonlySet<string>, into: Operation[]): void {
    this.subscriptionsDue = null;
    for (const filter of filters) {
      const key = subscriptionKey(filter);
      const value = encodeSubscription(this.session, filter);
      into.push(value === null ? { kind: "delete", key } : { kind: "put", key, value });
    }
  }
}

function noteOperation(key: string, value: Buffer | null): Operation {
  return value === null ? { kind: "delete", key } : { kind: "put", key, value };
}

/** What a session took and could not store: its publishers are told, or would wait for ever. */
function refuseAll(messages: readonly Message[]): void {
  for (const message of messages) {
    // One that its publisher's session has committed is not refused any more.
    if (message.origin === null) message.refused = ReasonCode.QuotaExceeded;
    message.accept();
  }
}
