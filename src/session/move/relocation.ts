/**
 * Many sessions to other nodes, one after the other at a rate: when this node leaves, is drained, or has more than its
 * share. What cannot move now is tried again with the next round; whoever asked sees how far it has come.
 */
import { type Clock, sleep } from "../../lib/clock.js";
import type { Log } from "../../lib/log.js";
import { hashString, mix32 } from "../../lib/hash.js";
import type { AttachedSession } from "../remote/near.js";
import type { Session } from "../session.js";
import type { Moves } from "./moves.js";

export interface RelocationParts {
  readonly moves: Pick<Moves, "push">;
  readonly sessions: {
    all(): Iterable<Session>;
    /** Closes a connection for the node's sake: its will, where it is due, waits for the client to come back. */
    closeForServer(session: AttachedSession, reason: number): void;
    /** Null: there are no other nodes. */
    readonly remote: { allNear(): Iterable<AttachedSession> } | null;
  };
  readonly clock: Clock;
  readonly log: Log;
  /** The other nodes that are up, and how many sessions each has. */
  targets(): readonly { readonly name: string; readonly sessions: number }[];
  /** Sessions and connections a second. */
  readonly rate: number;
}

export interface Progress {
  readonly state: "idle" | "running" | "done" | "stopped";
  readonly moved: number;
  readonly closed: number;
  readonly failed: number;
  /** Why the last one did not go; empty: all went. */
  readonly lastRefusal: string;
}

/** Rounds in which nothing goes before leaving gives up. */
const roundsMax = 3;
const roundMs = 1_000;

export class Relocation {
  private moved = 0;
  private closed = 0;
  private failed = 0;
  private lastRefusal = "";
  private state: Progress["state"] = "idle";
  private run = 0;

  constructor(private readonly parts: RelocationParts) {}

  get progress(): Progress {
    const { state, moved, closed, failed, lastRefusal } = this;
    return { state, moved, closed, failed, lastRefusal };
  }

  get isRunning(): boolean {
    return this.state === "running";
  }

  /**
   * Takes away everything: clients are closed with `reason`, those with sessions that outlive their connections first, and
   * each such session moves as soon as its client is away. Resolves with how many sessions could not go.
   */
  async empty(reason: number): Promise<number> {
    const run = this.begin();
    for (let round = 0; round < roundsMax && this.goesOn(run); round++) {
      const before = this.moved;
      for (const session of this.persistent()) {
        if (!this.goesOn(run)) break;
        this.close(session, reason);
        await this.takeAway(session);
      }
      if (this.left === 0) break;
      if (this.moved > before) round = 0;
      await sleep(this.parts.clock, roundMs);
    }
    for (const session of this.clientsLeft()) {
      if (!this.goesOn(run)) break;
      this.close(session, reason);
      await this.pause();
    }
    this.end(run);
    return this.left;
  }

  /** Moves so many sessions, those without connection first; the clients of the others stay connected here. */
  async give(count: number): Promise<void> {
    const run = this.begin();
    // One whose client is connected costs more: every message for it crosses to here afterwards.
    const isAway = ({ channel }: Session): boolean => channel === null;
    const all = this.persistent();
    for (const session of [...all.filter(isAway), ...all.filter((one) => !isAway(one))]) {
      if (this.moved >= count || !this.goesOn(run)) break;
      await this.takeAway(session);
    }
    this.end(run);
  }

  stop(): void {
    if (this.state === "running") this.state = "stopped";
    this.run++;
  }

  /** The node to which a client id's session goes: by rendezvous, weighted by how many each has. */
  targetOf(clientId: string): string | null {
    let best: string | null = null;
    let highest = Number.NEGATIVE_INFINITY;
    for (const { name, sessions } of this.parts.targets()) {
      const drawn = (mix32(hashString(name) ^ hashString(clientId)) + 0.5) / 2 ** 32;
      const score = -1 / (sessions + 100) / Math.log(drawn);
      if (score > highest) [best, highest] = [name, score];
    }
    return best;
  }

  /** Sessions that should not be here any more. */
  get left(): number {
    return this.persistent().length;
  }

  /** Clients whose sessions end with their connections, or are at other nodes. */
  private clientsLeft(): AttachedSession[] {
    const { sessions } = this.parts;
    const clean = [...sessions.all()].filter((one) => one.channel !== null && !one.persistent);
    return [...clean, ...(sessions.remote?.allNear() ?? [])];
  }

  private persistent(): Session[] {
    return [...this.parts.sessions.all()].filter((session) => session.persistent);
  }

  private begin(): number {
    this.moved = this.closed = this.failed = 0;
    this.lastRefusal = "";
    this.state = "running";
    return ++this.run;
  }

  private goesOn(run: number): boolean {
    return this.run === run && this.state === "running";
  }

  private end(run: number): void {
    if (this.goesOn(run)) this.state = "done";
  }

  private async takeAway({ clientId }: Session): Promise<void> {
    const { moves, log } = this.parts;
    const to = this.targetOf(clientId);
    try {
      if (to === null) throw new Error("there is no other node that is up");
      await moves.push(clientId, to);
      this.moved++;
    } catch (error) {
      this.failed++;
      this.lastRefusal = error instanceof Error ? error.message : String(error);
      log.warn({ clientId, to, why: this.lastRefusal }, "a session could not be moved");
    }
    await this.pause();
  }

  private close(session: AttachedSession, reason: number): void {
    if (session.channel?.isOpen !== true) return;
    this.parts.sessions.closeForServer(session, reason);
    this.closed++;
  }

  private pause(): Promise<void> {
    return sleep(this.parts.clock, 1000 / this.parts.rate);
  }
}
