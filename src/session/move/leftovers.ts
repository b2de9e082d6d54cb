/**
 * What members that were down when a session came here still have for its old owner. When such a member is back its stream to
 * this node is held, until the sessions that came have what waits for their old owners there, and here, in the order of its numbers;
 * what comes again by the streams is dropped by the sessions' marks. Until then a session does not move on. Outlives a crash.
 */
import { z } from "zod";
import { type ForwardNumber, isLater } from "../../cluster/position.js";
import { counterOf } from "../../cluster/wire/frames.js";
import { sleep } from "../../lib/clock.js";
import { OutboxReader } from "../../routing/outbox-messages.js";
import type { Subscriber } from "../../routing/targets.js";
import { decodeRecord, encodeRecord } from "../../store/record.js";
import type { Session } from "../session.js";
import { frameOf, giveTo, noForward, setOrigin, type WaitingFrame } from "../waiting-frames.js";
import type { MoveCounters, MoveParts } from "./parts.js";
import { decodeReply, encodeRequest, moveService } from "./wire.js";

/** Key in the session's partition. */
export const leftoversKey = "leftovers";
const version = 1;
const pollMs = 100;

const schema = z.object({
  /** The old owner, and the number of the try under which the session came. */
  from: z.string(),
  id: z.number(),
  /** The members that were down, and are not done with. */
  origins: z.array(z.string()),
});
export type LeftoversNote = z.infer<typeof schema>;

export const encodeLeftovers = (note: LeftoversNote): Buffer => encodeRecord(version, note);

/** Null: it cannot be read. */
export function decodeLeftovers(record: Buffer): LeftoversNote | null {
  const parsed = schema.safeParse(decodeRecord(version, record)?.value);
  return parsed.success ? parsed.data : null;
}

interface Entry {
  readonly session: Session;
  readonly note: LeftoversNote;
}

/** A frame that waits at the origin for that node. */
interface Waiting extends WaitingFrame {
  readonly node: string;
  readonly number: ForwardNumber;
}

export class Leftovers {
  private readonly byId = new Map<string, Entry>();
  private readonly reader: OutboxReader;
  private isWorking = false;

  constructor(
    private readonly parts: MoveParts,
    private readonly counters: MoveCounters,
    /** Is it not known yet whether the session of that client id comes? */
    private readonly isOpen: (clientId: string) => boolean,
  ) {
    this.reader = new OutboxReader(parts.sessions.router.topics, parts.clock);
  }

  get size(): number {
    return this.byId.size;
  }

  has(clientId: string): boolean {
    return this.byId.has(clientId);
  }

  /** The first member from which something may still come for that session; undefined: there is none. */
  originOf(clientId: string): string | undefined {
    return this.byId.get(clientId)?.note.origins[0];
  }

  /** Does a session here wait for what that member has for its old owner? */
  isAwaited(origin: string): boolean {
    for (const { note } of this.byId.values()) if (note.origins.includes(origin)) return true;
    return false;
  }

  /** A session is about to come. */
  add(session: Session, note: LeftoversNote): void {
    this.restore(session, note);
    void this.work();
  }

  /** At start: it came in an earlier process. `resume` follows. */
  restore(session: Session, note: LeftoversNote): void {
    this.byId.set(session.clientId, { session, note });
  }

  /** The members are known. */
  resume(): void {
    void this.work();
  }

  /** Which of these sessions, which have moved here, still wait. */
  open(moves: readonly { readonly clientId: string; readonly id: number }[]): string[] {
    const waiting = moves.filter(({ clientId, id }) => this.byId.get(clientId)?.note.id === id);
    return waiting.map(({ clientId }) => clientId);
  }

  private async work(): Promise<void> {
    if (this.isWorking) return;
    this.isWorking = true;
    const { clock, cluster } = this.parts;
    while (this.byId.size > 0) {
      await sleep(clock, pollMs);
      const members = cluster.members.others().map(({ name }) => name);
      for (const origin of this.origins()) {
        if (!members.includes(origin)) this.done(origin, [...this.byId.values()]);
        else if (cluster.state(origin) === "up") await this.take(origin);
      }
    }
    this.isWorking = false;
  }

  /** Those that sessions still wait for. */
  private origins(): Set<string> {
    for (const [clientId, { session }] of this.byId) {
      const isHere = this.parts.sessions.get(clientId) === session;
      if (!isHere && !this.isOpen(clientId)) this.byId.delete(clientId);
    }
    this.parts.cluster.openStreams();
    return new Set([...this.byId.values()].flatMap(({ note }) => note.origins));
  }

  private async take(origin: string): Promise<void> {
    const entries = [...this.byId.values()].filter(({ note }) => note.origins.includes(origin));
    const taken = await this.pull(origin, entries);
    if (taken === null) return;
    await new Promise<void>((resolve) => entries[0]?.session.whenDurable(resolve));
    this.counters.leftovers += taken;
    const told = { origin, sessions: entries.length, taken };
    this.parts.log.info(told, "sessions that moved have what waited for them");
    this.done(origin, entries);
  }

  /** They have all that this origin had for their old owners. */
  private done(origin: string, entries: readonly Entry[]): void {
    for (const { session, note } of entries) {
      const left = { ...note, origins: note.origins.filter((name) => name !== origin) };
      const isDone = left.origins.length === 0;
      if (this.byId.get(session.clientId)?.note !== note) continue;
      if (isDone) this.byId.delete(session.clientId);
      else this.byId.set(session.clientId, { session, note: left });
      session.journal?.note(leftoversKey, isDone ? null : encodeLeftovers(left));
    }
    this.parts.cluster.openStreams();
  }

  /** Returns how many deliveries that were; null: not all could be had. */
  private async pull(origin: string, entries: readonly Entry[]): Promise<number | null> {
    const { cluster, sessions } = this.parts;
    const { name: self } = cluster;
    const byOwner = new Map<string, Set<string>>();
    for (const { session, note } of entries) {
      byOwner.set(note.from, (byOwner.get(note.from) ?? new Set()).add(session.clientId));
    }
    byOwner.set(self, new Set(entries.map(({ session }) => session.clientId)));
    const { seq } = cluster.table.digest();
    let taken = 0;
    // What was sent since our rows were known there is in the stream to us, what is older in that to the old owner alone.
    const lists = [...byOwner.keys()].map((node) => this.waiting(origin, node, seq));
    for await (const one of inOrder(lists)) {
      if (one === null) return null;
      const its = byOwner.get(one.node);
      for (const { message, shared } of this.reader.read(one)) {
        if (shared?.only) continue;
        setOrigin(message, origin, one.incarnation, self);
        const takerOf = (taker: Subscriber) => (its?.has(taker.clientId) ? taker : undefined);
        taken += giveTo(takerOf, message, sessions.router);
      }
    }
    return taken;
  }

  /** What waits at an origin for a node, in order, up to what was the newest at first; null at the end: the rest cannot be had. */
  private async *waiting(
    origin: string,
    node: string,
    seq: number,
  ): AsyncGenerator<Waiting | null> {
    let after = noForward;
    let end: ForwardNumber | null = null;
    for (;;) {
      const question = encodeRequest({ verb: "waiting", node, seq, after });
      const answer = await this.parts.cluster.ask(origin, moveService, question);
      const reply = answer === null ? null : decodeReply("waiting", answer);
      if (reply === null || "refused" in reply) {
        yield null;
        return;
      }
      end ??= reply.newest;
      for (const bytes of reply.frames) {
        const frame = frameOf(bytes);
        const { incarnation } = frame;
        yield { ...frame, node, number: { incarnation, counter: counterOf(frame.frame) } };
      }
      after = reply.last;
      if (reply.frames.length === 0 || !isLater(end, after)) return;
    }
  }
}

/** The frames of all lists, by number. Null at the end: one of them broke off. */
async function* inOrder(
  lists: readonly AsyncGenerator<Waiting | null>[],
): AsyncGenerator<Waiting | null> {
  const heads = await Promise.all(lists.map((list) => list.next()));
  for (;;) {
    let first = -1;
    for (const [index, { done, value }] of heads.entries()) {
      if (done) continue;
      if (value === null) {
        yield null;
        return;
      }
      const best = heads[first]?.value ?? null;
      if (best === null || isLater(best.number, value.number)) first = index;
    }
    const list = lists[first];
    if (list === undefined) return;
    yield heads[first]?.value ?? null;
    heads[first] = await list.next();
  }
}
