/**
 * A session that another node takes over, at its old owner. Until its state is given away the move can be given up at any
 * time; from then on only the new owner knows how it ends, and this node neither delivers nor attaches, but keeps queueing,
 * until it has heard it: by `done`, or by asking, also after a restart.
 */
import { firstLate, type Position } from "../../cluster/position.js";
import { sleep } from "../../lib/clock.js";
import { ReasonCode } from "../../protocol/reason-codes.js";
import type { Session } from "../session.js";
import { type SnapshotParts, subscriptionsOf, takeSnapshot } from "./export.js";
import { type Hold, unaccepted } from "./hold.js";
import { giveLate, type LateMark } from "./late.js";
import { encodeNote, type MoveNote, movingKey } from "./notes.js";
import type { MoveCounters, MoveParts } from "./parts.js";
import { encodeSubscriptions } from "./snapshot.js";
import type { Stubs } from "./stubs.js";
import {
  decodeReply,
  encodeRequest,
  type MoveRefusal,
  type MoveReply,
  moveService,
} from "./wire.js";

/** A move that was begun and not heard of for so long is given up. */
const idleMs = 15_000;
/** How long the state may wait until everything has come that belongs to it. */
const stateMs = 10_000;
const pollMs = 5;
/** How often the new owner is asked for the outcome. */
const askAgainMs = 1_000;

export interface OutgoingHost {
  readonly parts: MoveParts;
  readonly counters: MoveCounters;
  readonly stubs: Pick<Stubs, "add" | "remove">;
  /** The move is over, whatever became of it. */
  onOver(move: Outgoing): void;
}

export class Outgoing {
  /**
   * `begun`: nothing has left. `taking`: it waits until all is there. `sent`: the new owner may have it, or not. `over`:
   * it is known.
   */
  stage: "begun" | "taking" | "sent" | "over" = "begun";
  /** The session lives at `to` now. */
  isMoved = false;
  private readonly subscriptions: readonly Buffer[];
  private snapshot: SnapshotParts | null = null;
  private late: LateMark = { nextSeq: 0, last: null };
  /** It is over, and what that means for the session is durable. */
  private isFinished = false;
  private heardMs: number;
  /** Its connection was closed when its state had left: what that means for it waits. */
  private lost: { readonly willDue: boolean } | null = null;
  private waiting: (() => void)[] = [];
  private confirming: (() => void)[] = [];

  constructor(
    private readonly host: OutgoingHost,
    readonly session: Session,
    readonly to: string,
    readonly id: number,
    /** At start: an earlier process had given the state away, and left this. */
    note: MoveNote | null = null,
    /** Of its client's connection, if it has one. */
    private readonly hold: Hold | null = null,
    /** Members that are down. */
    private readonly away: readonly string[] = [],
  ) {
    this.subscriptions = encodeSubscriptions(subscriptionsOf(session));
    this.heardMs = host.parts.clock.monotonicMs();
    if (note === null) return;
    this.stage = "sent";
    this.late = { nextSeq: note.nextSeq, last: null };
  }

  /** What the new owner hears of it first. */
  begin(): MoveReply<"begin"> {
    const { session, subscriptions } = this;
    void this.watch();
    return {
      epoch: session.epoch,
      messages: session.queued + session.window.inFlight,
      bytes: session.queue?.bytes ?? 0,
      subscriptionParts: subscriptions.length,
    };
  }

  /** Calls back when it is known where the session is; at once when the move can still be given up: it is then. */
  whenSettled(callback: () => void): void {
    if (this.stage === "begun" || this.stage === "taking") this.giveUp();
    if (this.isFinished) callback();
    else {
      this.host.counters.waited++;
      this.waiting.push(callback);
    }
  }

  /** The state of the session, in one turn, when everything has come that belongs to it. */
  async state(positions: readonly Position[]): Promise<MoveReply<"state"> | MoveRefusal> {
    this.heardMs = this.nowMs;
    if (this.stage !== "begun") return { refused: "its state is asked for twice" };
    this.stage = "taking";
    const endMs = this.nowMs + stateMs;
    for (;;) {
      const missing = this.missing(positions);
      if (missing === null) break;
      if (this.nowMs >= endMs) this.giveUp();
      if (this.stage !== "taking") return { refused: missing };
      await sleep(this.host.parts.clock, pollMs);
      if (this.stage !== "taking") return { refused: "it was given up: its client came or went" };
    }
    return await this.give();
  }

  part(kind: "subscriptions" | "messages", index: number): MoveReply<"part"> | MoveRefusal {
    this.heardMs = this.nowMs;
    const all = kind === "subscriptions" ? this.subscriptions : (this.snapshot?.messages ?? []);
    const part = all[index];
    return part === undefined ? { refused: "there is no such part" } : { part };
  }

  /** The new owner says how it ended. `confirm` is called when that is durable here. */
  done(moved: boolean, confirm: () => void): void {
    if (!moved) this.giveUp(true);
    if (this.isFinished) confirm();
    else {
      this.confirming.push(confirm);
      this.forget();
    }
  }

  /**
   * Its connection is closed. True: that is settled when it is known where the session is; false: now, as it stays here.
   */
  onClosed(willDue: boolean): boolean {
    this.giveUp();
    if (this.stage !== "sent") return false;
    this.lost = { willDue };
    this.session.channel = null;
    return true;
  }

  /** The session stays here. `isSure`: the new owner has said so. */
  giveUp(isSure = false): void {
    if (this.stage === "over" || (this.stage === "sent" && !isSure)) return;
    const wasSent = this.stage === "sent";
    this.stage = "over";
    this.host.counters.failedOut++;
    const { session } = this;
    if (wasSent) session.journal?.note(movingKey, null);
    this.host.stubs.remove(session.clientId);
    this.host.onOver(this);
    this.hold?.release();
    if (this.lost !== null) this.host.parts.sessions.lose(session, this.lost.willDue);
    else if (session.channel === null) this.host.parts.sessions.rearm(session);
    this.finish();
  }

  private get nowMs(): number {
    return this.host.parts.clock.monotonicMs();
  }

  private async give(): Promise<MoveReply<"state"> | MoveRefusal> {
    const { session, host } = this;
    const { cluster } = host.parts;
    const taken = takeSnapshot(session, cluster.name, cluster.positions());
    this.late = taken.late;
    this.stage = "sent";
    const { to: node, id } = this;
    const { nextSeq } = taken.late;
    if (this.away.length > 0) host.stubs.add(session, node, id, this.away);
    session.journal?.note(movingKey, encodeNote({ node, id, nextSeq }));
    await new Promise<void>((resolve) => session.whenDurable(resolve));
    const parts = await taken.read();
    if (this.isFinished) return { refused: "it was given up" };
    if (parts === null) {
      // Nothing of it has left.
      this.giveUp(true);
      return { refused: "the store of its node cannot be read" };
    }
    this.snapshot = parts;
    return { head: parts.head, messageParts: parts.messages.length };
  }

  /** What has still to come before the state is whole, in words; null: nothing. */
  private missing(positions: readonly Position[]): string | null {
    const { session } = this;
    const { cluster } = this.host.parts;
    const late = firstLate(positions, cluster.positions(), cluster.name);
    if (late !== undefined) return `messages of ${late.origin} have not come to its node in time`;
    if (session.journal?.isGiving) {
      return "messages of its share groups are being given to other members";
    }
    for (const [, message] of session.openPublishes()) if (message !== null) return unaccepted;
    return null;
  }

  /** Gives up what nobody goes on with, and asks how it ended what was given away. */
  async watch(): Promise<void> {
    const { clock, cluster } = this.host.parts;
    while (this.stage !== "over") {
      await sleep(clock, askAgainMs);
      if (this.stage === "begun" || this.stage === "taking") {
        if (this.nowMs - this.heardMs > idleMs || this.hold?.isLong) this.giveUp();
        continue;
      }
      if (this.hold?.isTooLong) this.session.channel?.close(ReasonCode.UseAnotherServer);
      if (this.nowMs - this.heardMs >= askAgainMs) {
        const isMember = cluster.members.others().some(({ name }) => name === this.to);
        // One that was removed has taken with it what it had, and what is here is all there is.
        if (isMember) await this.ask();
        else this.giveUp(true);
      }
    }
  }

  private async ask(): Promise<void> {
    const { cluster } = this.host.parts;
    const { id, session } = this;
    const question = encodeRequest({ verb: "outcome", clientId: session.clientId, id });
    const answer = await cluster.ask(this.to, moveService, question);
    const reply = answer === null ? null : decodeReply("outcome", answer);
    if (reply === null || "refused" in reply || this.stage !== "sent") return;
    if (reply.outcome === "open") return;
    this.host.counters.inDoubt++;
    if (reply.outcome === "moved") this.forget();
    else this.giveUp(true);
  }

  /** The session is at its new owner, with all that was here before the state left. */
  private forget(): void {
    if (this.stage === "over") return;
    this.stage = "over";
    this.isMoved = true;
    const { session, host } = this;
    host.counters.movedOut++;
    host.counters.messagesOut += session.queued + session.window.inFlight;
    this.sendOn();
    giveLate(session, this.late, () => {
      host.parts.sessions.letGo(session, () => {
        host.onOver(this);
        this.finish();
      });
    });
  }

  /** The connection goes on with the session at its new node. */
  private sendOn(): void {
    const { session, to } = this;
    const { channel } = session;
    session.isElsewhere = true;
    session.channel = null;
    channel?.moved(to, session.epoch + 1);
  }

  private finish(): void {
    this.isFinished = true;
    for (const confirm of this.confirming.splice(0)) confirm();
    for (const callback of this.waiting.splice(0)) callback();
  }
}
