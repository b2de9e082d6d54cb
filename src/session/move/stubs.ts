/**
 * What stays at the old owner of a session that moved while members were down. A member that is back goes on to send what is due
 * to the session here, until it holds the rows of the new owner; so the session's rows stay here that long, and what such a
 * member sends for the session is not accepted before the new owner has it (leftovers.ts). Outlives a crash.
 */
import { z } from "zod";
import { sleep } from "../../lib/clock.js";
import { Ring } from "../../lib/ring.js";
import { isShared } from "../../protocol/topics.js";
import { originKind } from "../../routing/origins.js";
import type { Message } from "../../routing/message.js";
import type { Delivery, Subscriber } from "../../routing/targets.js";
import type { Journaled } from "../../store/journaled.js";
import { decodeRecord, encodeRecord } from "../../store/record.js";
import type { Operation } from "../../store/store.js";
import type { SessionHost } from "../host.js";
import type { Session } from "../session.js";
import type { MoveParts } from "./parts.js";
import { decodeReply, encodeRequest, moveService } from "./wire.js";

const partition = "stubs";
const version = 1;
const rowsAtOnce = 256;
/** How often new owners are asked whether they have what members had that are back. */
const askAgainMs = 200;
const askedAtOnce = 1000;

const schema = z.object({
  clientId: z.string(),
  /** The new owner, and the number of the try under which it took the session. */
  to: z.string(),
  id: z.number(),
  /** The members that were down. */
  origins: z.array(z.string()),
  filters: z.array(z.tuple([z.string(), z.union([z.literal(0), z.literal(1), z.literal(2)])])),
});
type StubNote = z.infer<typeof schema>;

/** Stands for a session that has moved. */
class Stub implements Subscriber {
  readonly persistent = true;
  readonly clientId: string;
  private readonly held = new Ring<Message>();
  private isOver = false;

  constructor(
    readonly note: StubNote,
    private readonly router: SessionHost["router"],
  ) {
    this.clientId = note.clientId;
    for (const [filter, qos] of note.filters) {
      const options = { qos, noLocal: false, retainAsPublished: false, subscriptionId: 0 };
      router.subscribe(this, filter, options, true, false);
    }
  }

  deliver(message: Message, delivery: Delivery): boolean {
    const { origin } = message;
    if (this.isOver || message.qos === 0 || delivery.qos === 0 || origin === null) return true;
    // What the others send comes to the new owner too.
    if (!this.note.origins.includes(originKind(origin)?.node ?? origin.name)) return true;
    message.own();
    this.held.push(message);
    return false;
  }

  /** The new owner has all that it is due, or will never have it. */
  end(): void {
    this.isOver = true;
    for (const [filter] of this.note.filters) this.router.unsubscribe(this, filter);
    for (let one = this.held.shift(); one !== undefined; one = this.held.shift()) one.accept();
  }
}

export class Stubs implements Journaled {
  readonly partition = partition;
  readonly fence = undefined;
  touched = false;
  private readonly byId = new Map<string, Stub>();
  private readonly changed = new Map<string, Buffer | null>();
  private isWorking = false;

  constructor(
    private readonly parts: MoveParts,
    /** Is it not known yet whether the session of that client id moves? */
    private readonly isOpen: (clientId: string) => boolean,
  ) {}

  get size(): number {
    return this.byId.size;
  }

  /** The members of which something may still come for sessions that were here. */
  get origins(): Set<string> {
    return new Set([...this.byId.values()].flatMap(({ note }) => note.origins));
  }

  /** In the turn in which the session's state is taken; it is durable with all that the session notes in that turn. */
  add(session: Session, to: string, id: number, origins: readonly string[]): void {
    const filters: StubNote["filters"] = [];
    for (const [filter, { qos }] of session.subscriptions) {
      if (!isShared(filter)) filters.push([filter, qos]);
    }
    const note = { clientId: session.clientId, to, id, origins: [...origins], filters };
    this.byId.set(note.clientId, new Stub(note, this.parts.sessions.router));
    this.store(note, encodeRecord(version, note));
    void this.work();
  }

  /** The session stays here after all, or nothing more can come for it. */
  remove(clientId: string): void {
    const stub = this.byId.get(clientId);
    if (stub === undefined) return;
    this.byId.delete(clientId);
    this.store(stub.note, null);
    stub.end();
  }

  /** At start, before there are links. Rejects when the store cannot be read. */
  async load(): Promise<void> {
    const store = this.parts.sessions.journals?.parts.store;
    let from = "";
    for (;;) {
      const rows = (await store?.read(partition, from, rowsAtOnce)) ?? [];
      for (const [key, value] of rows) {
        from = `${key}\0`;
        const parsed = schema.safeParse(decodeRecord(version, value)?.value);
        if (parsed.success) {
          this.byId.set(parsed.data.clientId, new Stub(parsed.data, this.parts.sessions.router));
        }
      }
      if (rows.length < rowsAtOnce) return;
    }
  }

  /** The members are known. */
  resume(): void {
    void this.work();
  }

  collect(into: Operation[]): void {
    for (const [key, value] of this.changed) {
      into.push(value === null ? { kind: "delete", key } : { kind: "put", key, value });
    }
    this.changed.clear();
  }

  committed(): void {
    // Who waits for it asks the commits.
  }

  fenced(): void {
    // Nobody else writes here.
  }

  private store({ to, id }: StubNote, value: Buffer | null): void {
    const { journals } = this.parts.sessions;
    if (journals === null) return;
    this.changed.set(`${to} ${id}`, value);
    journals.commits.touch(this);
  }

  private async work(): Promise<void> {
    if (this.isWorking) return;
    this.isWorking = true;
    while (this.byId.size > 0) {
      await sleep(this.parts.clock, askAgainMs);
      for (const [to, stubs] of this.askable()) await this.ask(to, stubs);
    }
    this.isWorking = false;
  }

  /** Those that may be over by now, by new owner. */
  private askable(): Map<string, Stub[]> {
    const { cluster } = this.parts;
    const members = new Set(cluster.members.others().map(({ name }) => name));
    const by = new Map<string, Stub[]>();
    for (const [clientId, stub] of this.byId) {
      const { to, origins } = stub.note;
      if (this.isOpen(clientId)) continue;
      const left = origins.filter((name) => members.has(name));
      if (left.length === 0 || !members.has(to)) this.remove(clientId);
      else if (left.some((name) => cluster.state(name) !== "down")) {
        const together = by.get(to);
        if (together === undefined) by.set(to, [stub]);
        else if (together.length < askedAtOnce) together.push(stub);
      }
    }
    return by;
  }

  private async ask(to: string, stubs: readonly Stub[]): Promise<void> {
    const moves = stubs.map(({ note: { clientId, id } }) => ({ clientId, id }));
    const question = encodeRequest({ verb: "leftovers", moves });
    const answer = await this.parts.cluster.ask(to, moveService, question);
    const reply = answer === null ? null : decodeReply("leftovers", answer);
    if (reply === null || "refused" in reply) return;
    const open = new Set(reply.open);
    for (const stub of stubs) {
      const { clientId } = stub;
      if (!open.has(clientId) && this.byId.get(clientId) === stub) this.remove(clientId);
    }
  }
}
