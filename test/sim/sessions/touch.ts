/**
 * What a node had to do with the others from moment to moment: how it saw each of them, when it lived, and when it gave
 * messages to share groups. What it sends with nobody waiting for it may be lost at those moments alone that are in here.
 */
import type { PeerState } from "../../../src/cluster/failure-detector.js";
import type { Log } from "../../../src/lib/log.js";
import type { Message } from "../../../src/routing/message.js";
import type { SharedGroups } from "../../../src/routing/shared.js";
import { payloadOf } from "../fakes.js";
import type { SessionNode } from "./node.js";

/** So long may something be on its way between two nodes (world/network.ts), and more when a cut has just ended (world/connection.ts). */
const wayMs = 100;
const releaseMs = 300;
const never = Number.POSITIVE_INFINITY;
/** How finely the begin of a trouble is looked for. */
const stepMs = 20;

interface Change {
  readonly atMs: number;
  readonly peer: string;
  readonly after: PeerState;
}

export class Touch {
  /** How it saw others, of all its processes. */
  private readonly changes: Change[] = [];
  /** When its processes began and ended; infinite: it lives. */
  private readonly lives: { readonly bootMs: number; crashMs: number }[] = [];
  /** When it had to choose who gets a message of a share group, by payload. */
  private readonly choices = new Map<string, number[]>();

  constructor(private readonly nowMs: () => number) {}

  noteBoot(): void {
    this.lives.push({ bootMs: this.nowMs(), crashMs: never });
  }

  noteCrash(): void {
    const last = this.lives.at(-1);
    if (last !== undefined) last.crashMs = Math.min(last.crashMs, this.nowMs());
  }

  /** The log of a process, which says how it sees its peers. */
  watchLog(log: Log): Log {
    const { debug, warn, error, child, level } = log;
    const info = (fields: object, message: string): void => {
      log.info(fields, message);
      if (!("peer" in fields && "after" in fields)) return;
      const { peer, after } = fields;
      // As src/cluster/cluster.ts tells it.
      this.changes.push({ atMs: this.nowMs(), peer: String(peer), after: after as PeerState });
    };
    return { debug, info, warn, error, child, level };
  }

  /** Keeps the moments at which these choose for a message. */
  watchGroups(shared: SharedGroups): void {
    const note = (message: Message): void => {
      const payload = payloadOf(message).trimEnd();
      this.choices.set(payload, [...this.chosenMs(payload), this.nowMs()]);
    };
    const { choose, onForward, onSpread, redispatch, reroute } = shared;
    shared.choose = (message, found) => {
      note(message);
      return choose.call(shared, message, found);
    };
    shared.onForward = (message, part, from) => {
      note(message);
      onForward.call(shared, message, part, from);
    };
    shared.onSpread = (message, group, key, from) => {
      note(message);
      onSpread.call(shared, message, group, key, from);
    };
    shared.redispatch = (message, key, onlineOnly, waiter) => {
      note(message);
      return redispatch.call(shared, message, key, onlineOnly, waiter);
    };
    shared.reroute = (frame, message, groups) => {
      note(message);
      reroute.call(shared, frame, message, groups);
    };
  }

  chosenMs(payload: string): readonly number[] {
    return this.choices.get(payload) ?? [];
  }

  /** How its process of that moment saw the other node; null: there was none. */
  stateAt(peer: string, atMs: number): PeerState | null {
    const life = this.lives.findLast(({ bootMs }) => bootMs <= atMs);
    if (life === undefined || life.crashMs <= atMs) return null;
    const last = this.changes.findLast((one) => one.peer === peer && one.atMs <= atMs);
    return last === undefined || last.atMs < life.bootMs ? "down" : last.after;
  }

  /** Did a process of it die in that time? */
  died(fromMs: number, untilMs: number): boolean {
    return this.lives.some(({ crashMs }) => crashMs >= fromMs && crashMs <= untilMs);
  }

  /** When its first process after that moment began; infinite: there is none yet. */
  bootAfterMs(atMs: number): number {
    return this.lives.find(({ bootMs }) => bootMs >= atMs)?.bootMs ?? never;
  }

  /** Did it lose the link to that node, or take it for down, in that time? */
  lostLink(peer: string, fromMs: number, untilMs: number): boolean {
    return this.changes.some(
      (one) =>
        one.peer === peer &&
        (one.after === "suspect" || one.after === "down") &&
        one.atMs >= fromMs &&
        one.atMs <= untilMs,
    );
  }

  /** When it took that node for down for the last time; -Infinity: never. */
  lastDownMs(peer: string): number {
    const last = this.changes.findLast((one) => one.peer === peer && one.after === "down");
    return last?.atMs ?? Number.NEGATIVE_INFINITY;
  }

  /** When it saw that node up again after that moment; Infinity: not yet. */
  upAgainMs(peer: string, afterMs: number): number {
    const next = this.changes.find(
      (one) => one.peer === peer && one.after === "up" && one.atMs >= afterMs,
    );
    return next?.atMs ?? never;
  }

  /** Was there a process of it in that time that did not see that node up, and did not wait for it either? */
  wasWithout(peer: string, fromMs: number, untilMs: number): boolean {
    const isWithout = (atMs: number): boolean => {
      const state = this.stateAt(peer, atMs);
      return state === "down" || state === "joining";
    };
    const moments = [
      ...this.lives.map(({ bootMs }) => bootMs),
      ...this.changes.map(({ atMs }) => atMs),
    ];
    return (
      isWithout(fromMs) ||
      moments.some((atMs) => atMs >= fromMs && atMs <= untilMs && isWithout(atMs))
    );
  }
}

/** Was one of these nodes, in that time, without another one? A home grants claims without asking that, then. */
export function wereApart(nodes: readonly SessionNode[], fromMs: number, untilMs: number): boolean {
  return nodes.some((one) =>
    nodes.some((other) => one !== other && one.touch.wasWithout(other.name, fromMs, untilMs)),
  );
}

/** When a node was lost last to the others, with what it has, and when it came back to them. */
export function lossOf(
  node: SessionNode,
  nodes: readonly SessionNode[],
): { readonly lostMs: number; readonly backMs: () => number } {
  const others = nodes.filter((other) => other !== node);
  const { lastCrashMs } = node;
  // Who takes it for down after having seen it up again does not see that crash.
  const downMs = others.map(({ touch }) => {
    const atMs = touch.lastDownMs(node.name);
    return touch.upAgainMs(node.name, lastCrashMs) < atMs ? atMs : lastCrashMs;
  });
  const lostMs = Math.max(lastCrashMs, ...downMs);
  if (lostMs === lastCrashMs) {
    return { lostMs, backMs: () => node.touch.bootAfterMs(lostMs) };
  }
  const upMs = (): number =>
    Math.min(...others.map(({ touch }) => touch.upAgainMs(node.name, lostMs)));
  return { lostMs, backMs: upMs };
}

/**
 * May what one node sends to another one at that moment be lost, as the link was cut, gone, or about to go, or one of them dead, and the
 * sender did not know that yet?
 */
export function mayBeLost(from: SessionNode, to: SessionNode, atMs: number): boolean {
  const untilMs = atMs + wayMs;
  const seen = from.touch.stateAt(to.name, atMs);
  // It knows; or it is dead, and sends nothing.
  if (seen === "down" || seen === null) return false;
  if (seen === "suspect" || from.touch.died(atMs, untilMs)) return true;
  if (from.touch.lostLink(to.name, atMs, untilMs)) return true;
  if (to.touch.lostLink(from.name, atMs, untilMs) || to.touch.died(atMs, untilMs)) return true;
  if (from.world.wasCut(from.place, to.place, atMs - releaseMs, untilMs)) return true;
  // Dead, or its new process; or it has noticed before.
  const seenThere = to.touch.stateAt(from.name, atMs);
  return seen === "up" && (seenThere === null || seenThere === "down" || seenThere === "suspect");
}

/** Since when, without a break, was what these two send each other at that moment lost? Infinity: it was not. */
export function troubledSinceMs(one: SessionNode, other: SessionNode, atMs: number): number {
  const isTroubled = (ms: number): boolean =>
    mayBeLost(one, other, ms) || mayBeLost(other, one, ms);
  if (!isTroubled(atMs)) return Number.POSITIVE_INFINITY;
  let sinceMs = atMs;
  while (sinceMs > 0 && isTroubled(sinceMs - stepMs)) sinceMs -= stepMs;
  return sinceMs;
}
