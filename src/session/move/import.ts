/**
 * A session out of a snapshot, at its new owner. It is put together beside the sessions of the node, subscribed to nothing;
 * one with a journal goes to the store as one write, with a checkpoint, and exists when that is committed.
 */
import { WireError } from "../../cluster/wire/frames.js";
import type { WillPacket } from "../../protocol/packets.js";
import { isShared } from "../../protocol/topics.js";
import type { Message } from "../../routing/message.js";
import type { Delivery } from "../../routing/targets.js";
import type { SessionHost } from "../host.js";
import type { Journals } from "../journal/journals.js";
import { Marks } from "../journal/marks.js";
import { replayOf } from "../replays.js";
import { Session } from "../session.js";
import { encodeSuccession, successionKey } from "../superseded/succession.js";
import { Awaiting } from "../window.js";
import { readMessages, type SnapshotHead, type SnapshotSubscription } from "./snapshot.js";

export interface ImportHost {
  readonly sessions: SessionHost;
  /** Null: sessions are kept in memory alone. */
  readonly journals: Journals | null;
  /** The name of this node. */
  readonly self: string;
}

interface Kept {
  readonly seq: number;
  readonly body: number;
  readonly message: Message;
  readonly delivery: Delivery;
}

/** Puts one session together, message by message. */
export class SessionImport {
  readonly session: Session;
  private readonly inFlight = new Map<number, Kept>();
  private readonly nowMs: number;
  /** Numbers in the journal, in the order in which messages came. */
  private readonly seqs: number[] = [];

  /** `epoch`: its new one, higher than any before. */
  constructor(
    private readonly host: ImportHost,
    private readonly head: SnapshotHead,
    private readonly subscriptions: readonly SnapshotSubscription[],
    epoch: number,
  ) {
    const { sessions, journals } = host;
    this.nowMs = sessions.turn.refresh();
    const { clientId, user, rules, expiryMs, endsInMs } = head;
    const session = new Session(clientId, user, sessions);
    session.rules = rules;
    session.access = sessions.authorizer.accessOf({ clientId, user, rules });
    session.expiryMs = expiryMs;
    session.endDueMs = endsInMs === -1 ? Number.POSITIVE_INFINITY : this.nowMs + endsInMs;
    session.epoch = session.connectedEpoch = epoch;
    session.isArriving = head.connected;
    if (journals !== null) session.journal = journals.open(session);
    session.succession = head.succession;
    if (head.succession !== null) {
      session.journal?.note(successionKey, encodeSuccession(head.succession));
    }
    this.session = session;
    this.takeWill();
  }

  /** @throws WireError the part cannot be read, or holds what is not due */
  addMessages(part: Buffer): void {
    const { session, host } = this;
    const { topics } = host.sessions.router;
    readMessages(part, topics, session, this.nowMs, (packetId, message, delivery) => {
      this.seqs.push(session.journal?.nextSeq ?? 0);
      if (packetId === 0) this.addWaiting(message, delivery);
      else this.addInFlight(packetId, message, delivery);
    });
  }

  /**
   * All parts were added: the rest of its state. Its journal is due to be committed then.
   * @throws WireError messages are missing
   */
  finish(): Session {
    const { session, head } = this;
    if (this.seqs.length !== head.messages)
      throw new WireError("a snapshot without all its messages");
    this.restoreWindow();
    for (const packetId of head.open) session.incoming.add(packetId, null);
    this.restoreMarks(head);
    for (const { filter, replay, ...options } of this.subscriptions) {
      session.subscriptions.set(filter, options);
      if (replay && !isShared(filter)) session.noteReplay(filter, true);
    }
    session.journal?.noteAll();
    return session;
  }

  /** The session exists: it subscribes, and is due what is retained where it was due that before. */
  subscribe(): void {
    const { session } = this;
    for (const { filter, replay, ...options } of this.subscriptions) {
      session.restoreSubscription(filter, options);
      if (replay && !isShared(filter)) session.replay(replayOf(session, filter, options));
    }
  }

  private takeWill(): void {
    const { session, head, nowMs } = this;
    if (head.will === null) return;
    const { dueInMs, expirySeconds, payload, properties, ...rest } = head.will;
    const will: WillPacket = {
      ...rest,
      payload: Buffer.from(payload),
      properties: properties === null ? null : Buffer.from(properties),
      expirySeconds: expirySeconds === -1 ? undefined : expirySeconds,
    };
    session.will = will;
    if (dueInMs >= 0) session.willDueMs = nowMs + dueInMs;
  }

  private addWaiting(message: Message, delivery: Delivery): void {
    const { session } = this;
    const queue = session.queue ?? session.makeQueue();
    queue.push(message, delivery);
  }

  private addInFlight(packetId: number, message: Message, delivery: Delivery): void {
    const { journal } = this.session;
    const seq = journal === null ? 0 : journal.takeStored(message, delivery);
    const body = journal?.takenBody ?? 0;
    this.inFlight.set(packetId, { seq, body, message, delivery });
  }

  private restoreWindow(): void {
    const { session, head, inFlight } = this;
    const { window, journal } = session;
    for (const { id, state } of head.inFlight) {
      const kept = inFlight.get(id);
      // One that was lost at its old owner, which has counted it.
      if (kept === undefined && state !== Awaiting.Pubcomp) continue;
      if (journal !== null) window.restoreStored(id, state, kept?.seq ?? 0, kept?.body ?? 0);
      else window.restore(id, state, kept?.message ?? null, kept?.delivery ?? null);
    }
    window.restoreNext(head.nextId);
    window.restoreReleased(head.released);
  }

  private restoreMarks({ marks, taken }: SnapshotHead): void {
    const { session, host } = this;
    if (session.journal === null) session.marks = new Marks();
    const own = session.journal?.marks ?? session.marks;
    const nameHere = (name: string): string =>
      name.startsWith(`${host.self}/`) ? name.slice(host.self.length) : name;
    for (const { name, incarnation, identity } of marks) {
      own?.restore({ name: nameHere(name), incarnation }, identity);
    }
    for (const { name, incarnation, identity, share, place } of taken) {
      const origin = { name: nameHere(name), incarnation };
      own?.shared.restore({ origin, identity, share, seq: this.seqs[place] ?? 0 });
    }
  }
}
