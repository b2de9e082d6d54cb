/**
 * What becomes of a share group's messages when the connection or the session of the member that had them
 * ends: they go to other members [MQTT-4.8.2-4..5], never one that was sent with QoS 2.
 */
import type { Receipt } from "../cluster/ports.js";
import type { Message } from "../routing/message.js";
import type { Delivery } from "../routing/targets.js";
import type { SessionJournal } from "./journal/journal.js";
import { SessionQueue } from "./queue.js";
import type { Session } from "./session.js";
import { Awaiting } from "./window.js";

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
    return host.router.redispatch(message, share, !ended, waiter);
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
 * when those who got some have accepted them; until then the journal has them. It ends early when the client
 * is back, unless the session has ended.
 */
export function giveAwayStored(session: Session, ended: boolean, done: () => void): void {
  const { journal, pages } = session;
  if (journal === null) return;
  if (session.queued + session.window.inFlight === 0) {
    done();
    return;
  }
  const giving = new GivingAway(session, journal, ended, done);
  pages?.siftParked((message, delivery) => !giving.redispatch(message, delivery, message));
  session.whenDurable(() => {
    void journal.journals.pages
      .visit(
        journal,
        (seq) => giving.has(seq),
        () => ended || giving.mayGoOn,
        (seq, message, delivery) => giving.give(seq, message, delivery),
      )
      .then(() => giving.visited());
  });
}

class GivingAway {
  /** Messages in flight that may go elsewhere: number, packet id. QoS 2 is completed with this client or not at all. */
  private readonly inFlight = new Map<number, number>();
  private unaccepted = 0;
  private isVisited = false;
  private readonly nowMs: number;

  constructor(
    private readonly session: Session,
    private readonly journal: SessionJournal,
    private readonly ended: boolean,
    private readonly done: () => void,
  ) {
    const { window, host } = session;
    this.nowMs = host.turn.refresh();
    for (const id of window.ids()) {
      if (window.stateOf(id) === Awaiting.Puback) this.inFlight.set(window.seqOf(id), id);
    }
  }

  /** The client has not come back, and the session lives. */
  get mayGoOn(): boolean {
    return this.session.channel === null && this.session.journal === this.journal;
  }

  /** Is it still here? An earlier connection's end, whose messages are still being read, may have given it away. */
  has(seq: number): boolean {
    const { window, pages } = this.session;
    const id = this.inFlight.get(seq);
    if (id === undefined) return pages?.holds(seq) ?? false;
    return window.stateOf(id) === Awaiting.Puback && window.seqOf(id) === seq;
  }

  redispatch(message: Message, { share }: Delivery, waiter: Receipt): boolean {
    // One that has expired stays, and goes as such.
    if (share === null || message.hasExpired(this.nowMs)) return false;
    return this.session.host.router.redispatch(message, share, !this.ended, waiter);
  }

  give(seq: number, message: Message, delivery: Delivery): void {
    const { window, pages } = this.session;
    const id = this.inFlight.get(seq);
    const body = id === undefined ? (pages?.bodyOf(seq) ?? 0) : window.bodyOf(id);
    this.unaccepted++;
    const accept = (): void => {
      if (id === undefined) this.journal.gone(seq, body);
      else this.journal.done(id, seq, body);
      this.unaccepted--;
      this.finish();
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
    isGiven = this.redispatch(message, delivery, waiter);
    if (!isGiven) {
      this.unaccepted--;
      return;
    }
    if (id === undefined) pages?.takeOut(seq);
    else window.complete(id);
    if (isAccepted) accept();
  }

  visited(): void {
    this.isVisited = true;
    this.finish();
  }

  private finish(): void {
    if (this.isVisited && this.unaccepted === 0) this.done();
  }
}
