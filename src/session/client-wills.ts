/**
 * The wills of this node's clients: in its store, if it has one, and at their holders at other nodes. Published for a
 * client whose connection ended without a DISCONNECT that says otherwise, or with the delay that it asked for, once
 * [MQTT-3.1.2-8, MQTT-3.1.2-10].
 */
import { type Clock, sleep } from "../lib/clock.js";
import type { Message } from "../routing/message.js";
import type { ConnectRequest } from "./opening.js";
import type { JournalParts, SessionHost } from "./host.js";
import type { Session } from "./session.js";
import { StoredWills } from "./stored-wills.js";
import { WillHolders } from "./will-holders.js";
import type { WillHost, WillNetwork } from "./will-parts.js";
import {
  decodeHeld,
  encodeHeld,
  type FiredWill,
  type HeldWill,
  type NotedWill,
} from "./will-record.js";
import { standIn, willMessage } from "./wills.js";

const pollMs = 5;
/** As long as a takeover waits for the connection that it displaces (`takeover.timeout`). */
const takeoverMs = 2000;

export interface ClientWillsParts {
  /** Null: wills are kept in memory alone. */
  readonly journals: JournalParts | null;
  /** Null: there are no other nodes. */
  readonly network: WillNetwork | null;
}

/** What it uses of the sessions. */
export interface ClientWillsHost extends SessionHost {
  get(clientId: string): Session | undefined;
  /** Of the latest connection of that client id whose session is here, or is remembered to have ended; undefined: of none. */
  connectedEpochHere(clientId: string): number | undefined;
  /** What makes wall-clock time of monotonic time, now. */
  wallOffsetMs(): number;
  publish(message: Message): void;
  /** Another time has come for what is due to happen to a session without connection. */
  rearm(session: Session): void;
  /** Others have published the will of this session's client, as if it were gone. */
  onWillSettled(session: Session): void;
}

export class ClientWills implements WillHost {
  readonly stored: StoredWills | null;
  readonly holders: WillHolders | null;
  private underWay = 0;
  /** By client id: its latest will that is being published and not known to be accepted by all. */
  private readonly publishing = new Map<string, Message>();
  private recovered: readonly HeldWill[] = [];

  constructor(
    private readonly parts: ClientWillsParts,
    private readonly host: ClientWillsHost,
  ) {
    const { journals, network } = parts;
    const { topics } = host.router;
    const publish = (message: Message): void => host.publish(message);
    const holders = network === null ? null : new WillHolders(network, this);
    this.holders = holders;
    this.stored =
      journals &&
      new StoredWills(journals, {
        ...{ topics, publish },
        onFound: ({ message, epoch, owner }) => holders?.isHere(message.publisher, epoch, owner),
        onAccepted: ({ message, epoch, owner }) =>
          holders?.publishedAgain(message.publisher, epoch, owner),
        onNoted: (noted) => holders?.restoreNote(noted),
      });
  }

  /** Wills that are being published and not known to be accepted by all. */
  get firing(): number {
    return this.underWay + (this.stored?.firing ?? 0);
  }

  /** Resolves when there are none of those, or so much later. */
  async settled(clock: Clock, timeoutMs: number): Promise<void> {
    const endMs = clock.monotonicMs() + timeoutMs;
    while (this.firing > 0 && clock.monotonicMs() < endMs) await sleep(clock, pollMs);
  }

  /** Takes up what an earlier process of this node had stored. */
  async load(): Promise<void> {
    this.recovered = (await this.stored?.load()) ?? [];
  }

  /** At start, after `load`: the will of a session that came from another node, if it was not held yet. */
  cameWith(held: HeldWill): void {
    if (this.recovered.some(({ clientId }) => clientId === held.clientId)) return;
    this.recovered = [...this.recovered, held];
    this.stored?.hold(held);
  }

  /**
   * Before anybody connects, and once linked: publishes again, under their identities, wills that had been fired, and
   * returns those that are still to be taken care of.
   */
  async recover(): Promise<readonly HeldWill[]> {
    const { recovered, stored } = this;
    this.recovered = [];
    stored?.publishRecovered();
    const [older, latest] = olderAndLatest(recovered);
    for (const held of await this.unsettled(older)) this.publish(standIn(this.host, held));
    return await this.unsettled(latest);
  }

  /** Those of one client each that others have not settled. */
  private async unsettled(wills: readonly HeldWill[]): Promise<readonly HeldWill[]> {
    const { holders } = this;
    if (holders === null || wills.length === 0) return wills;
    const settled = await holders.settledOf(
      wills.map((held) => {
        const { clientId, epoch } = held;
        return { clientId, epoch, waits: isDelayed(held) };
      }),
    );
    for (const { clientId, epoch } of wills) {
      if (settled.has(clientId)) this.stored?.drop(clientId, epoch);
    }
    return wills.filter(({ clientId }) => !settled.has(clientId));
  }

  /**
   * A will that an earlier process left. Its delay runs from now on if its client was connected, and is over if the
   * session did not outlive that process [MQTT-3.1.3-9].
   */
  takeUp(held: HeldWill): void {
    const { will, dueAt, clientId, epoch } = held;
    const session = this.host.get(clientId);
    if (session === undefined) {
      // Its session was adopted, or its client was closed as the node stopped: it may still come back.
      const leftMs = dueAt === 0 ? delayOf(held) : dueAt - this.nowWallMs();
      if (leftMs <= 0) this.publish(standIn(this.host, held));
      else if (this.holders?.isUnsure(clientId, epoch)) this.publishIn(leftMs, held);
      else if (dueAt === 0 && this.holders !== null) this.waitHere(leftMs, held);
      else this.entrust(held, true);
      return;
    }
    const { channel, connectedEpoch } = session;
    if (channel !== null || session.will !== null || connectedEpoch > epoch) {
      // Its client is back already, at another node maybe, or was.
      if (!isDelayed(held)) this.publish(standIn(this.host, held));
      else this.drop(clientId, epoch);
      return;
    }
    session.will = will;
    session.epoch = Math.max(session.epoch, epoch);
    const { clock } = this.parts.journals ?? {};
    const leftMs = dueAt === 0 || !clock ? will.delaySeconds * 1000 : dueAt - clock.wallMs();
    session.willDueMs = this.host.turn.refresh() + leftMs;
    if (leftMs <= 0) this.publish(session);
    else {
      this.hold(session);
      this.host.rearm(session);
    }
  }

  /** Its session is at another node, which does not have it: it waits here, for all that its client does there. */
  private waitHere(leftMs: number, held: HeldWill): void {
    const { clientId, epoch } = held;
    this.holders?.hold(clientId, epoch, encodeHeld(held), () => undefined, true);
    this.publishIn(leftMs, held);
  }

  /** Others may have published it: nobody can be given it before that is known. */
  private publishIn(leftMs: number, held: HeldWill): void {
    this.parts.network?.clock.setTimer(leftMs, () => {
      if (this.isBack(held.clientId, held.epoch)) this.drop(held.clientId, held.epoch);
      else this.publish(standIn(this.host, held));
    });
  }

  /** A client connects with a will: `done` when that is durable, and held elsewhere. */
  open(request: ConnectRequest, epoch: number, done: () => void): void {
    if (request.will === null) done();
    // The store has room for one of each client: the one before it is published first.
    else this.whenNoneIsOpen(request.clientId, () => this.openNow(request, epoch, done));
  }

  private openNow(request: ConnectRequest, epoch: number, done: () => void): void {
    const { clientId, user, rules, will, expiryMs } = request;
    if (will === null) return;
    let open = 1;
    const ready = (): void => {
      if (--open === 0) done();
    };
    const held = { clientId, user, rules, will, dueAt: 0, epoch, expiryMs };
    if (this.stored !== null) {
      open++;
      this.stored.hold(held);
      this.parts.journals?.commits.whenCommitted(ready);
    }
    if (this.holders !== null) {
      open++;
      this.holders.hold(clientId, epoch, encodeHeld(held), ready);
    }
    ready();
  }

  /** The session has come from another node, where its epoch was one less. */
  takeIn(session: Session): void {
    if (session.will === null) return;
    this.holders?.isHere(session.clientId, session.epoch - 1);
    this.hold(session);
  }

  /** Has the session's will held as it is now; without one, none. */
  hold(session: Session): void {
    const { clientId, user, will, willDueMs, epoch, expiryMs, rules } = session;
    if (will === null) {
      this.drop(clientId, epoch);
      return;
    }
    const waits = willDueMs !== Number.POSITIVE_INFINITY;
    const dueAt = waits ? willDueMs + this.host.wallOffsetMs() : 0;
    const held = { clientId, user, rules, will, dueAt, epoch, expiryMs };
    this.stored?.hold(held);
    this.holders?.hold(clientId, epoch, encodeHeld(held), () => undefined);
  }

  /** The session's will is void. */
  forgo(session: Session): void {
    session.will = null;
    session.willDueMs = Number.POSITIVE_INFINITY;
    this.drop(session.clientId, session.epoch);
  }

  /** The client has no will any more, if it had one up to that epoch. */
  drop(clientId: string, epoch: number): void {
    this.stored?.drop(clientId, epoch);
    this.holders?.release(clientId, epoch);
  }

  /**
   * Publishes the session's will, which is due. Returns the message, whose `pending` tells whether it is accepted;
   * null: there was none, or it may not be published.
   */
  publish(session: Session): Message | null {
    const { clientId, user, rules, will, epoch } = session;
    const message = willMessage(session);
    if (message === null || will === null) {
      this.drop(clientId, epoch);
      return null;
    }
    if (this.holders === null) {
      this.fire({ message, epoch, owner: "" });
      return message;
    }
    message.pending = 1;
    message.sink = {
      onAccepted: () => {
        if (this.publishing.get(clientId) === message) this.publishing.delete(clientId);
      },
    };
    this.publishing.set(clientId, message);
    this.stored?.waits({ clientId, user, rules, will, dueAt: 0, epoch, expiryMs: 0 });
    this.underWay++;
    this.holders.due(clientId, epoch, (isOurs) => {
      this.underWay--;
      if (isOurs) this.fire({ message, epoch, owner: "" });
      else {
        this.stored?.drop(clientId, epoch);
        message.pending = 0;
        message.sink?.onAccepted(message);
      }
    });
    return message;
  }

  /** May a will wait although this node stops? */
  get canWait(): boolean {
    return this.stored !== null || (this.parts.network?.live().length ?? 1) > 1;
  }

  /**
   * The session ends because this node closes its client, for its own sake: the will waits so long for the client to come
   * back, at another node if there is one, else in the store.
   */
  keepFor(session: Session, graceMs: number): void {
    const { clientId, user, rules, will, epoch } = session;
    session.will = null;
    if (will === null) return;
    const dueAt = this.nowWallMs() + graceMs;
    this.entrust({ clientId, user, rules, will, dueAt, epoch, expiryMs: 0 }, false);
  }

  /** The session ends here and goes on elsewhere, its client is not back yet: its will, if it waits, goes on waiting. */
  giveAway(session: Session): void {
    const { clientId, user, rules, will, epoch, willDueMs } = session;
    session.will = null;
    if (will === null || willDueMs === Number.POSITIVE_INFINITY) return;
    const dueAt = willDueMs + this.host.wallOffsetMs();
    this.entrust({ clientId, user, rules, will, dueAt, epoch, expiryMs: 0 }, true);
  }

  /** The session was adopted by another node, as it turns out: its will, which that does not have, goes on waiting here. */
  keepBack(session: Session): void {
    const { clientId, user, rules, will, epoch, expiryMs, willDueMs } = session;
    session.will = null;
    if (will === null || willDueMs === Number.POSITIVE_INFINITY) return;
    const leftMs = Math.max(0, willDueMs - this.host.turn.refresh());
    this.waitHere(leftMs, { clientId, user, rules, will, dueAt: 0, epoch, expiryMs });
  }

  /** Gives a will away for good. `here`: this node keeps it where there is no other. */
  private entrust(held: HeldWill, here: boolean): void {
    const { clientId, epoch } = held;
    if (this.holders === null) {
      this.publish(standIn(this.host, held));
      return;
    }
    this.underWay++;
    this.holders.entrust(clientId, epoch, encodeHeld(held), here, (isHeld) => {
      this.underWay--;
      // What this process keeps in memory alone stays in the store.
      const isAlone = this.parts.network?.live().length === 1;
      if (isAlone && this.stored !== null) this.stored.hold(held);
      else if (isHeld) this.drop(clientId, epoch);
      else this.publish(standIn(this.host, held));
    });
  }

  /** The will of that client which is being published, and not known to be accepted by all; null: there is none. */
  openOf(clientId: string): Message | null {
    return this.publishing.get(clientId) ?? null;
  }

  /** Calls back when the will of a connection of that client that was closed before is accepted, if one is not yet. */
  whenNoneIsOpen(clientId: string, done: () => void): void {
    this.whenAccepted(this.openOf(clientId), () => {
      // One that waits for the rest of a cluster that is cut is waited for once.
      this.publishing.delete(clientId);
      done();
    });
  }

  /**
   * Calls back when the will is accepted, at once if there is none. One that has to wait for the rest of a cluster that is
   * cut, or for a slow store, keeps nobody longer than `takeoverMs`.
   */
  whenAccepted(will: Message | null, done: () => void): void {
    if (will === null || will.pending === 0) {
      done();
      return;
    }
    const { clock } = this.parts.network ?? {};
    let isOver = false;
    const end = (): void => {
      clock?.clearTimer(timer);
      if (!isOver) done();
      isOver = true;
    };
    const timer = clock?.setTimer(takeoverMs, end);
    const { sink } = will;
    will.sink = {
      onAccepted: (accepted) => {
        sink?.onAccepted(accepted);
        end();
      },
    };
  }

  delayMs(bytes: Uint8Array): number {
    const held = decodeHeld(Buffer.from(bytes));
    if (held === null) return 0;
    const { dueAt } = held;
    return dueAt === 0 ? delayOf(held) : Math.max(0, dueAt - this.nowWallMs());
  }

  isOnceAtMost(bytes: Uint8Array): boolean {
    return decodeHeld(Buffer.from(bytes))?.will.qos === 0;
  }

  inherit(owner: string, bytes: Uint8Array, done: () => void): void {
    const held = decodeHeld(Buffer.from(bytes));
    const message = held === null ? null : willMessage(standIn(this.host, held));
    if (held === null || message === null) {
      done();
      return;
    }
    message.sink = { onAccepted: () => done() };
    this.fire({ message, epoch: held.epoch, owner });
  }

  isBack(clientId: string, epoch: number): boolean {
    return (this.host.connectedEpochHere(clientId) ?? 0) > epoch;
  }

  hasLetGo(clientId: string, epoch: number): boolean {
    return this.stored !== null && !this.stored.has(clientId, epoch);
  }

  onSettled(clientId: string, epoch: number): void {
    this.stored?.drop(clientId, epoch);
    const session = this.host.get(clientId);
    if (session !== undefined && session.epoch === epoch && session.will !== null) {
      this.host.onWillSettled(session);
    }
  }

  keep(bytes: Uint8Array): void {
    const held = decodeHeld(Buffer.from(bytes));
    // There is room for one of each client: a session here may have had its own.
    if (held !== null && !this.stored?.hasOf(held.clientId)) this.stored?.hold(held);
  }

  unkeep(clientId: string, epoch: number): void {
    if (this.stored?.has(clientId, epoch)) this.stored.drop(clientId, epoch);
  }

  note(noted: NotedWill): void {
    this.stored?.note(noted);
  }

  forgetNote(noted: Omit<NotedWill, "process">): void {
    this.stored?.forgetNote(noted);
  }

  whenNoted(done: () => void): void {
    const { commits } = this.parts.journals ?? {};
    // A store that is stuck keeps no other node from publishing.
    if (commits === undefined || commits.stalled !== null) done();
    else commits.whenCommitted(done);
  }

  private fire(fired: FiredWill): void {
    const { message } = fired;
    this.host.counters.willsPublished++;
    if (this.stored !== null) this.stored.fire(fired);
    else {
      this.host.publish(message);
      if (message.pending === 0) message.sink?.onAccepted(message);
    }
  }

  private nowWallMs(): number {
    return this.parts.network?.clock.wallMs() ?? 0;
  }
}

/** Of each client all but its latest one, the oldest first; and that. */
function olderAndLatest(wills: readonly HeldWill[]): [HeldWill[], HeldWill[]] {
  const latest = new Map<string, HeldWill>();
  const older: HeldWill[] = [];
  for (const held of wills.toSorted((one, other) => one.epoch - other.epoch)) {
    const before = latest.get(held.clientId);
    if (before !== undefined) older.push(before);
    latest.set(held.clientId, held);
  }
  return [older, [...latest.values()]];
}

/** How long it waits after its connection has ended, in ms: not longer than the session [MQTT-3.1.3-9]. */
function delayOf({ will, expiryMs }: HeldWill): number {
  return Math.min(will.delaySeconds * 1000, expiryMs);
}

/** Is it void if its client comes back soon? Not where the session, and with it the delay, ended with the connection [MQTT-3.1.3-9]. */
function isDelayed({ will, dueAt, expiryMs }: HeldWill): boolean {
  return dueAt > 0 || (will.delaySeconds > 0 && expiryMs > 0);
}
