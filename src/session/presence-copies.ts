/**
 * Who is connected at other nodes, as far as this one is their deputy: it says that they are gone when their node goes down.
 * A departure is forgotten with the report after the one that told it: by then its node has published it.
 */
import { z } from "zod";

export interface Client {
  readonly clientId: string;
  readonly user: string;
}

const clientSchema = z.object({ clientId: z.string(), user: z.string() });
const reportSchema = z.object({
  /** Of the process that reports. */
  incarnation: z.number(),
  /** What follows is all there is. */
  begin: z.boolean(),
  add: z.array(clientSchema),
  remove: z.array(clientSchema),
});

/** What a node tells its deputy (docs/wire.md, service `presence`). */
export type Report = z.output<typeof reportSchema>;

const answerSchema = z.object({
  /** The deputy does not know the node: it has to begin. */
  again: z.boolean(),
  /** Its clients were said to be gone since it began the last time. */
  wasGone: z.boolean(),
});

export type ReportAnswer = z.output<typeof answerSchema>;

export const encodeReport = (report: Report): Uint8Array => Buffer.from(JSON.stringify(report));

/** Null: it makes no sense. */
export const decodeReport = (body: Uint8Array): Report | null => decode(reportSchema, body);

/** Null: it makes no sense. */
export const decodeAnswer = (body: Uint8Array): ReportAnswer | null => decode(answerSchema, body);

function decode<T>(schema: z.ZodType<T>, body: Uint8Array): T | null {
  try {
    return schema.parse(JSON.parse(Buffer.from(body).toString()));
  } catch {
    return null;
  }
}

interface Copy {
  readonly incarnation: number;
  readonly users: Map<string, string>;
  leaving: readonly Client[];
  wasGone: boolean;
}

/** Clients held for all nodes together; further ones are counted and not held. */
const clientsMax = 1_000_000;

export class PresenceCopies {
  readonly counters = { notHeld: 0 };
  private readonly copies = new Map<string, Copy>();
  private held = 0;

  constructor(private readonly onGone: (node: string, client: Client) => void) {}

  /** Clients of other nodes that are held. */
  get size(): number {
    return this.held;
  }

  take(node: string, { incarnation, begin, add, remove }: Report): ReportAnswer {
    const before = this.copies.get(node);
    const same = before?.incarnation === incarnation ? before : undefined;
    if (same === undefined && !begin) return { again: true, wasGone: false };
    const wasGone = begin && same?.wasGone === true;
    const copy = this.copyOf(node, incarnation, begin);
    for (const { clientId } of copy.leaving) this.forget(copy, clientId);
    copy.leaving = remove;
    for (const { clientId, user } of add) this.hold(copy, clientId, user);
    return { again: false, wasGone };
  }

  /** Says that all who were connected there are gone. */
  onDown(node: string): void {
    const copy = this.copies.get(node);
    if (copy === undefined || copy.wasGone) return;
    const { users } = copy;
    const all = [...users].map(([clientId, user]) => ({ clientId, user }));
    this.held -= users.size;
    users.clear();
    copy.leaving = [];
    copy.wasGone = true;
    for (const client of all) this.onGone(node, client);
  }

  /** Forgets all nodes but these. */
  keep(nodes: ReadonlySet<string>): void {
    for (const [node, { users }] of this.copies) {
      if (nodes.has(node)) continue;
      this.held -= users.size;
      this.copies.delete(node);
    }
  }

  clear(): void {
    this.copies.clear();
    this.held = 0;
  }

  private copyOf(node: string, incarnation: number, begin: boolean): Copy {
    const before = this.copies.get(node);
    if (before !== undefined && !begin) return before;
    this.held -= before?.users.size ?? 0;
    const copy: Copy = { incarnation, users: new Map(), leaving: [], wasGone: false };
    this.copies.set(node, copy);
    return copy;
  }

  private hold(copy: Copy, clientId: string, user: string): void {
    if (!copy.users.has(clientId)) {
      if (this.held >= clientsMax) {
        this.counters.notHeld++;
        return;
      }
      this.held++;
    }
    copy.users.set(clientId, user);
  }

  private forget(copy: Copy, clientId: string): void {
    if (copy.users.delete(clientId)) this.held--;
  }
}
