/**
 * What becomes of a share group's messages when the connection or the session of the member that had them
 * ends, or its client may not get them any more: they go to other members [MQTT-4.8.2-4..5], never one that was
 * sent with QoS 2. Until another one has accepted a message, the journal of the first has it.
 */
import type { Receipt } from "../cluster/ports.js";
import type { Message } from "../routing/message.js";
import type { Delivery } from "../routing/targets.js";
import { nameGiven } from "./given.js";
import type { SessionJournal } from "./journal/journal.js";
import { SessionQueue } from "./queue.js";
import type { Session } from "./session.js";
import { Awaiting } from "./window.js";

/** When the store could not be read, it is asked again after so long. */
const readAgainMs = 1000;

/**
 * To be called when the router knows that the session is not online (`ended`: that it is no member any
 * more). A session that goes on gives away only what a connected member gets instead.
 */
export function giveAway(session: Session, ended: boolean): void {
  const { window, queue, host } = session;
  const nowMs = host.turn.refresh();
  const takes = (message: Message, delivery: Delivery, waiter: Receipt | null): boolean => {
    const { share } = delivery;
    // One that has expired stays, and goes as such.
    if (share === null || message.hasExpired(nowMs)) return false;
    if (!host.router.redispatch(message, share, !ended, waiter)) return false;
    session.marks?.forget(message, share);
    return true;
  };
  for (const id of [...window.ids()]) {
    // QoS 2: it is completed with this client or not at all.
    if (window.stateOf(id) !== Awaiting.Puback) continue;
    const message = window.messageOf(id);
    const delivery = window.deliveryOf(id);
    if (message === null || delivery === null) continue;
    if (takes(message, delivery, null)) window.complete(id);
  }
  if (!(queue instanceof SessionQueue)) return;
  queue.sift((message, delivery, parked) => !takes(message, delivery, parked ? message : null));
}

/**
 * The same of a session with a journal, whose messages are read from there, all that it has taken. `done` is called
 * when those who got some have accepted them, now or at an earlier time; until then the journal has them. It ends
 * early when the client is back, unless the session has ended.
 */
export function giveAwayStored(session: Session, ended: boolean, done: () => void): void {
  const { journal, pages } = session;
  if (journal === null) return;
  if (session.queued + session.window.inFlight === 0) {
    journal.whenGiven(done);
    return;
  }
  const giving = new GivingAway(session, journal, ended);
  pages?.siftParked((message, delivery) => !giving.redispatch(message, delivery, message));
  const visit = (): void => {
    void giving.visit().then((isComplete) => {
      journal.givingEnds();
      if (isComplete || !ended) journal.whenGiven(done);
      else {
        journal.givingBegins();
        journal.journals.parts.clock.setTimer(readAgainMs, visit);
      }
    });
  };
  // The reading itself counts: a session does not move while some of it may go elsewhere.
  journal.givingBegins();
  session.whenDurable(visit);
}

/**
 * A client may not get a message any more that was taken for it: another one of its share group does, if it is of one.
 * `packetId` 0: it is the first of the queue; else it is in flight under that. Returns whether another one has it now, or
 * will: then the journal, if there is one, is told by itself.
 */
export function giveDenied(
  session: Session,
  message: Message,
  { share }: Delivery,
  packetId: number,
): boolean {
  const { journal, window, pages, host } = session;
  host.authorizer.counters.deniedQueued++;
  // One of QoS 2 was sent to this client and goes to no other [MQTT-4.8.2-5].
  if (share === null || (packetId !== 0 && window.stateOf(packetId) !== Awaiting.Puback)) {
    return false;
  }
  if (journal === null) {
    if (host.router.redispatch(message, share, false, null)) session.marks?.forget(message, share);
    return false;
  }
  const seq = packetId === 0 ? (pages?.peekSeq() ?? 0) : window.seqOf(packetId);
  const body = packetId === 0 ? (pages?.peekBody() ?? 0) : window.bodyOf(packetId);
  return hand(journal, { seq, body, packetId, message, share }, false, () => {
    if (packetId !== 0) window.complete(packetId);
  });
}

/** A message in a session's journal; `packetId` 0: it waits. */
interface Stored {
  readonly seq: number;
  readonly body: number;
  readonly packetId: number;
  readonly message: Message;
  readonly share: string;
}

/** Hands a message to another member. `leave` is called when there is one, before it has accepted. */
function hand(
  journal: SessionJournal,
  { seq, body, packetId, message, share }: Stored,
  onlineOnly: boolean,
  leave: () => void,
): boolean {
  const accept = (): void => {
    journal.given(packetId, seq, body);
    journal.givingEnds();
  };
  // Not within the call: it leaves the session first.
  let isGiven = false;
  let isAccepted = false;
  const waiter = {
    expiresMs: message.expiresMs,
    accept: () => {
      isAccepted = true;
      if (isGiven) accept();
    },
  };
  journal.marks.restoreOrigin(message, seq);
  const { origin, identity } = message;
  nameGiven(journal, message, seq);
  isGiven = journal.session.host.router.redispatch(message, share, onlineOnly, waiter);
  // Others may have it too, as it came.
  message.origin = origin;
  message.identity = identity;
  if (!isGiven) return false;
  journal.marks.forget(message, share);
  journal.givingBegins();
  leave();
  if (isAccepted) accept();
  return true;
}

class GivingAway {
  /** Messages in flight that may go elsewhere: number, packet id. QoS 2 is completed with this client or not at all. */
  private readonly inFlight = new Map<number, number>();
  private readonly nowMs: number;

  constructor(
    private readonly session: Session,
    private readonly journal: SessionJournal,
    private readonly ended: boolean,
  ) {
    const { window, host } = session;
    this.nowMs = host.turn.refresh();
    for (const id of window.ids()) {
      if (window.stateOf(id) === Awaiting.Puback) this.inFlight.set(window.seqOf(id), id);
    }
  }

  /** Gives what is in the store. False: it could not be read to the end. */
  visit(): Promise<boolean> {
    return this.journal.journals.pages.visit(
      this.journal,
      (seq) => this.has(seq),
      () => this.ended || this.mayGoOn,
      (seq, message, delivery) => this.give(seq, message, delivery),
    );
  }

  redispatch(message: Message, { share }: Delivery, waiter: Receipt): boolean {
    // One that has expired stays, and goes as such.
    if (share === null || message.hasExpired(this.nowMs)) return false;
    return this.session.host.router.redispatch(message, share, !this.ended, waiter);
  }

  /** The client has not come back, and the session lives. */
  private get mayGoOn(): boolean {
    return this.session.channel === null && this.session.journal === this.journal;
  }

  /** Is it still here? An earlier connection's end, whose messages are still being read, may have given it away. */
  private has(seq: number): boolean {
    const { window, pages } = this.session;
    const id = this.inFlight.get(seq);
    if (id === undefined) return pages?.holds(seq) ?? false;
    return window.stateOf(id) === Awaiting.Puback && window.seqOf(id) === seq;
  }

  private give(seq: number, message: Message, { share }: Delivery): void {
    if (share === null || message.hasExpired(this.nowMs)) return;
    const { window, pages } = this.session;
    const packetId = this.inFlight.get(seq) ?? 0;
    const body = packetId === 0 ? (pages?.bodyOf(seq) ?? 0) : window.bodyOf(packetId);
    hand(this.journal, { seq, body, packetId, message, share }, !this.ended, () => {
      if (packetId === 0) pages?.takeOut(seq);
      else window.complete(packetId);
    });
  }
}
