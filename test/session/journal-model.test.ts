/**
 * Random histories of durable sessions, cut off after every commit: whatever the store holds then, a node that starts
 * on it has everything that was acknowledged, sends again what was in flight under the same ids and in order, publishes
 * QoS 2 once, and nothing that a client had completed.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { CrashStore, settle } from "./crash-store.js";
import { type FakeChannel, message, subscribe, type World, world } from "./support.js";

const day = 86_400_000;

type Step =
  | { readonly do: "publish"; readonly qos: 1 | 2; readonly fan: boolean }
  | { readonly do: "publish2"; readonly id: number }
  | { readonly do: "release"; readonly id: number }
  | { readonly do: "ack"; readonly count: number }
  | { readonly do: "leave" | "come" | "commit" | "crash" };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("publish" as const),
      qos: fc.constantFrom(1 as const, 2 as const),
      fan: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant("publish2" as const),
      id: fc.integer({ min: 1, max: 3 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant("release" as const),
      id: fc.integer({ min: 1, max: 3 }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("ack" as const),
      count: fc.integer({ min: 1, max: 4 }),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ do: "leave" as const }) },
  { weight: 2, arbitrary: fc.constant({ do: "come" as const }) },
  { weight: 4, arbitrary: fc.constant({ do: "commit" as const }) },
  { weight: 1, arbitrary: fc.constant({ do: "crash" as const }) },
);

/** What the world outside knows at some moment. */
interface Known {
  readonly commits: number;
  /** Payloads whose publisher was told that they are accepted. */
  readonly acknowledged: ReadonlySet<string>;
  /** QoS 2 payloads that the client got, with their packet ids. */
  readonly received2: ReadonlyMap<string, number>;
  /** QoS 2 payloads for which PUBREL came. */
  readonly released: ReadonlySet<string>;
}

class History {
  store = new CrashStore();
  one: World = world({}, this.store);
  readonly known: Known[] = [];
  readonly acknowledged = new Set<string>();
  /** Payloads that the client has completed in the end (QoS 1: PUBACK sent, QoS 2: PUBREC sent). */
  readonly completed = new Set<string>();
  readonly received2 = new Map<string, number>();
  readonly released = new Set<string>();
  /** For both sessions. */
  readonly fanned = new Set<string>();
  private channel: FakeChannel | null = null;
  private readonly inFlight = new Map<number, { payload: string; qos: number }>();
  private next = 0;

  async begin(): Promise<void> {
    for (const id of ["c", "d"]) {
      this.one.connect(id, { expiryMs: day });
      await settle(this.one);
      const session = this.one.sessions.get(id);
      assert.ok(session);
      subscribe(session, id === "c" ? "one" : "nothing", 2);
      subscribe(session, "all", 2);
      await settle(this.one);
      this.one.disconnect(id);
    }
    await settle(this.one);
    await this.run({ do: "come" });
  }

  async run(step: Step): Promise<void> {
    const { one } = this;
    const session = one.sessions.get("c");
    assert.ok(session !== undefined);
    switch (step.do) {
      case "publish":
        this.publish(step.fan ? "all" : "one", step.qos);
        break;
      case "publish2":
        if (this.channel !== null && !session.incoming.has(step.id)) this.publish2(step.id);
        break;
      case "release":
        if (
          this.channel !== null &&
          session.incoming.has(step.id) &&
          session.incoming.unaccepted(step.id) === null
        ) {
          session.onPubrel(step.id);
        }
        break;
      case "ack":
        this.acknowledge(step.count);
        break;
      case "leave":
        one.disconnect("c");
        this.channel = null;
        this.inFlight.clear();
        break;
      case "come":
        if (this.channel !== null) break;
        this.channel = one.connect("c", { expiryMs: day, clean: false, receiveMaximum: 5 }).channel;
        await settle(one);
        break;
      case "commit":
        await settle(one);
        break;
      case "crash":
        await this.crash();
        break;
    }
    this.listen();
    this.known.push({
      commits: this.store.history.length,
      acknowledged: new Set(this.acknowledged),
      received2: new Map(this.received2),
      released: new Set(this.released),
    });
  }

  /** The process dies; another goes on with what is in the store. */
  private async crash(): Promise<void> {
    this.listen();
    this.store = this.store.copy();
    this.one = world({}, this.store);
    this.channel = null;
    this.inFlight.clear();
    await this.one.load();
  }

  private publish(topic: string, qos: 1 | 2): void {
    const payload = `m${++this.next}q${qos}`;
    const sent = message(topic, payload, qos, this.one.router.topics);
    if (topic === "all") this.fanned.add(payload);
    sent.sink = { onAccepted: () => void this.acknowledged.add(payload) };
    this.one.router.publish(sent);
    if (sent.pending === 0) this.acknowledged.add(payload);
  }

  /** The client itself publishes with QoS 2, to both sessions. */
  private publish2(id: number): void {
    const { one } = this;
    const session = one.sessions.get("c");
    assert.ok(session?.journal);
    const payload = `p${++this.next}q2`;
    const sent = message("all", payload, 2, one.router.topics);
    sent.packetId = id;
    sent.sink = {
      onAccepted: (accepted) => {
        session.settleQos2(accepted);
        this.acknowledged.add(payload);
      },
    };
    session.incoming.add(id, sent);
    session.journal.publish(sent);
    this.fanned.add(payload);
  }

  private acknowledge(count: number): void {
    const session = this.one.sessions.get("c");
    if (this.channel === null || session === undefined) return;
    for (const [id, { payload, qos }] of [...this.inFlight].slice(0, count)) {
      this.inFlight.delete(id);
      if (qos === 1) session.onPuback(id);
      else session.onPubrec(id, 0);
      this.completed.add(payload);
    }
  }

  private listen(): void {
    const session = this.one.sessions.get("c");
    for (const line of this.channel?.take() ?? []) {
      const sent = /^(\S+) q(\d) id(\d+)/.exec(line);
      if (sent !== null) {
        const [, payload = "", qos, id] = sent;
        this.inFlight.set(Number(id), { payload, qos: Number(qos) });
        if (qos === "2") this.received2.set(payload, Number(id));
      }
      const released = /^pubrel (\d+)/.exec(line);
      if (released === null) continue;
      const id = Number(released[1]);
      for (const [payload, own] of this.received2) if (own === id) this.released.add(payload);
      session?.onPubcomp(id);
    }
  }
}

interface Revived {
  readonly payloads: string[];
  readonly lines: string[];
}

/** What a client gets from a node that starts on this store. */
async function revive(store: CrashStore, clientId: string): Promise<Revived> {
  const one = world({}, store);
  await one.load();
  await settle(one);
  if (one.sessions.get(clientId) === undefined) return { payloads: [], lines: [] };
  const { channel } = one.connect(clientId, { expiryMs: day, clean: false });
  await settle(one);
  const lines = channel.take();
  const payloads = lines.flatMap((line) => /^(\S+) q/.exec(line)?.[1] ?? []);
  return { payloads, lines };
}

const numberOf = (payload: string): number => Number(/\d+/.exec(payload)?.[0]);

function inOrder(payloads: readonly string[], what: string): void {
  for (const kind of ["q1", "q2"]) {
    const numbers = payloads
      .filter((one) => one.startsWith("m") && one.endsWith(kind))
      .map(numberOf);
    assert.deepEqual(
      numbers,
      [...numbers].sort((a, b) => a - b),
      what,
    );
  }
}

/** Runs a history and looks at what is there after every so many commits. */
async function check(steps: readonly Step[], every: number): Promise<void> {
  const history = new History();
  await history.begin();
  for (const one of steps) await history.run(one);
  await settle(history.one);
  await history.run({ do: "commit" });
  const first = history.known[0]?.commits ?? 0;
  for (let commits = first; commits <= history.store.history.length; commits += every) {
    const known = history.known.findLast((one) => one.commits <= commits);
    if (known !== undefined) await checkAt(history, known, commits);
  }
}

test("whatever commit was the last, a new node has what was acknowledged, once and in order", async () => {
  const histories = fc.array(step, { minLength: 5, maxLength: 40 });
  await fc.assert(
    fc.asyncProperty(histories, (steps) => check(steps, 1)),
    { numRuns: 25 },
  );
});

test("the same of histories long enough for checkpoints", async () => {
  const histories = fc.array(step, { minLength: 500, maxLength: 500 });
  await fc.assert(
    fc.asyncProperty(histories, (steps) => check(steps, 13)),
    // To make so long a history shorter takes minutes; seed and path are printed.
    { numRuns: 5, endOnFailure: true },
  );
});

/** `known`: at that commit or before it; later the client may have completed more. */
async function checkAt(history: History, known: Known, commits: number): Promise<void> {
  const c = await revive(history.store.copy(commits), "c");
  const d = await revive(history.store.copy(commits), "d");
  const what = `after ${commits} commits: ${c.lines.join(", ")}`;
  for (const payload of known.acknowledged) {
    if (!history.completed.has(payload))
      assert.ok(c.payloads.includes(payload), `${payload} is missing for c ${what}`);
    if (history.fanned.has(payload)) {
      assert.ok(d.payloads.includes(payload), `${payload} is missing for d ${what}`);
    }
  }
  for (const { payloads } of [c, d]) {
    assert.equal(new Set(payloads).size, payloads.length, `twice ${what}`);
    inOrder(payloads, what);
  }
  for (const payload of c.payloads) {
    assert.ok(!known.released.has(payload), `${payload} was completed ${what}`);
    const id = known.received2.get(payload);
    // What the client got with QoS 2 comes under the id that it knows.
    const again = `${payload} q2 id${id} dup`;
    if (id !== undefined) assert.ok(c.lines.includes(again), `${again} ${what}`);
  }
}
