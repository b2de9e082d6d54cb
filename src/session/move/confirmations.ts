/**
 * Sessions that have come to this node, until their old owners have heard it and forgotten them. The note of it is in the
 * session's partition, and stays there when the session ends: an old owner that asks must never hear that it did not move.
 */
import { sleep } from "../../lib/clock.js";
import type { Journaled } from "../../store/journaled.js";
import type { Operation } from "../../store/store.js";
import { sessionPrefix } from "../journal/journal.js";
import type { Incoming } from "./incoming.js";
import { type MoveNote, movedKey } from "./notes.js";
import type { MoveParts } from "./parts.js";
import { decodeReply, encodeRequest, moveService } from "./wire.js";

const tellAgainMs = 1_000;
const pollMs = 5;

export class Confirmations {
  private readonly open = new Map<string, MoveNote>();

  constructor(private readonly parts: MoveParts) {}

  get size(): number {
    return this.open.size;
  }

  has(clientId: string): boolean {
    return this.open.has(clientId);
  }

  /** Did that try of this peer's session end here? */
  isMoved(clientId: string, from: string, id: number): boolean {
    const note = this.open.get(clientId);
    return note?.node === from && note.id === id;
  }

  /** A session has just come. */
  add(clientId: string, { from: node, id }: Pick<Incoming, "from" | "id">): void {
    const note = { node, id, nextSeq: 0 };
    this.open.set(clientId, note);
    void this.tell(clientId, note);
  }

  /** At start: the old owner may not have heard it. `resume` follows. */
  restore(clientId: string, note: MoveNote): void {
    this.open.set(clientId, note);
  }

  resume(): void {
    for (const [clientId, note] of this.open) void this.tell(clientId, note);
  }

  /** Resolves when the old owner has confirmed it, or after so long. */
  async settled(clientId: string, timeoutMs: number): Promise<void> {
    const { clock } = this.parts;
    const endMs = clock.monotonicMs() + timeoutMs;
    while (this.open.has(clientId) && clock.monotonicMs() < endMs) await sleep(clock, pollMs);
  }

  private async tell(clientId: string, note: MoveNote): Promise<void> {
    const { cluster, clock, sessions } = this.parts;
    const question = encodeRequest({ verb: "done", clientId, id: note.id, moved: true });
    // Its rows must be gone nowhere before ours are everywhere.
    await new Promise<void>((resolve) => sessions.router.whenSynced(resolve));
    for (;;) {
      // One that is no member any more asks nobody.
      if (!cluster.members.others().some(({ name }) => name === note.node)) break;
      const answer = await cluster.ask(note.node, moveService, question);
      if (answer !== null && decodeReply("done", answer) !== null) break;
      await sleep(clock, tellAgainMs);
    }
    this.open.delete(clientId);
    this.forget(clientId);
  }

  /** The note goes, out of the session or of what it left behind. */
  private forget(clientId: string): void {
    const { sessions } = this.parts;
    const { journals } = sessions;
    const session = sessions.get(clientId);
    if (session?.journal) session.journal.note(movedKey, null);
    else if (journals !== null) journals.commits.touch(new Leftover(clientId));
  }
}

/** What a session that has ended left in its partition. */
class Leftover implements Journaled {
  readonly partition: string;
  readonly fence = undefined;
  touched = false;

  constructor(clientId: string) {
    this.partition = `${sessionPrefix}${clientId}`;
  }

  collect(into: Operation[]): void {
    into.push({ kind: "delete", key: movedKey });
  }

  committed(): void {
    // Nobody waits for it.
  }

  fenced(): void {
    // A session of that client id has begun anew.
  }
}
