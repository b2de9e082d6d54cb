/**
 * A node with persistent sessions is killed, and the others publish for hours to what it holds: how long does it take, how
 * much memory, and does everything come that was acknowledged? One client begins a younger session at another node
 * meanwhile, to which its older one hands its queue; others wait for the node to come back.
 */
import { readFileSync } from "node:fs";
import type { TestNode } from "../support/nodes.js";
import { until } from "../support/nodes.js";
import { Publisher, Subscriber } from "./clients.js";

export interface BacklogOptions {
  /** Messages of all publishers together. */
  readonly count: number;
  readonly payloadBytes: number;
  /** Published before the node is killed. */
  readonly before: number;
  /** Publishes of one publisher that wait for their answer. */
  readonly window: number;
  /** For whatever is waited for. */
  readonly deadlineMs: number;
}

/** What is known afterwards. */
export interface BacklogReport {
  /** Rows of a table: what, and how much. */
  readonly figures: readonly (readonly [string, string])[];
  /** What should not be. */
  readonly faults: readonly string[];
  /** Publishes that were refused because an outbox was full. */
  readonly refused: number;
}

/** Of each node in one phase. */
interface Peak {
  readonly phase: string;
  /** Of its own; pages of the store's file are the system's to keep or to drop. */
  readonly ownBytes: number[];
}

const sampleMs = 250;
/** Of the messages, so that some are left when the client has come back. */
const firstPart = 0.9;
const filter = "backlog/#";

export class BacklogTrial {
  private readonly figures: [string, string][] = [];
  private readonly faults: string[] = [];
  private readonly publishers: Publisher[] = [];
  private readonly roaming: Subscriber;
  private readonly away: readonly Subscriber[];
  private readonly peaks: Peak[] = [];
  private isSampling = false;
  /** What the roaming client had got when its node died. */
  private receivedBefore = 0;
  /** What it had begun to get with QoS 2: that may come once more. */
  private begun: readonly { readonly publisher: number; readonly number: number }[] = [];

  constructor(
    private readonly nodes: readonly [TestNode, TestNode, TestNode],
    private readonly options: BacklogOptions,
  ) {
    const { count, window, payloadBytes } = options;
    for (let index = 0; index < 4; index++) {
      const qos = index % 2 === 0 ? 1 : 2;
      this.publishers.push(
        new Publisher({ index, qos, count: Math.floor(count / 4), window, payloadBytes }),
      );
    }
    this.roaming = new Subscriber("roaming", this.publishers);
    this.away = ["away-1", "away-2"].map((clientId) => new Subscriber(clientId, this.publishers));
  }

  async play(): Promise<BacklogReport> {
    const [a, b, c] = this.nodes;
    const sampling = this.sample();
    try {
      this.phase("before the kill");
      await this.begin();
      await this.timed("published while the node is away", () => this.publishAll());
      this.note("refused", String(this.refused));
      this.phase("while it starts");
      await this.timed("the node's start, until its listeners are open", () => a.start());
      this.phase("while it gets what waited");
      await this.timed("until its peers have nothing left for it", async () => {
        for (const node of [b, c]) await this.reaches(node, `peer.${a.name}.unaccepted`, 0);
      });
      await this.timed("until the older session has handed over its queue", () =>
        this.reaches(a, "superseded.under_way", 0, "superseded.superseded", 1),
      );
      await this.timed("until the client has got it", () => this.settled(this.roaming));
      this.phase("while clients fetch theirs");
      await this.timed("until the others have fetched theirs", async () => {
        for (const [index, one] of this.away.entries()) {
          await one.connect(this.nodes[index === 0 ? 0 : 2].mqttPort);
          if (!one.isSessionPresent) this.faults.push(`${one.clientId} has lost its session`);
        }
        for (const one of this.away) await this.settled(one);
      });
      await this.check();
    } finally {
      this.isSampling = false;
      await sampling;
    }
    this.notePeaks();
    return { figures: this.figures, faults: this.faults, refused: this.refused };
  }

  private get refused(): number {
    return this.publishers.reduce((sum, { refused }) => sum + refused.size, 0);
  }

  private get answered(): number {
    return this.publishers.reduce((sum, { answered }) => sum + answered, 0);
  }

  /** Everybody is there, the first messages come, and the node dies. */
  private async begin(): Promise<void> {
    const [a, b, c] = this.nodes;
    for (const one of [...this.away, this.roaming]) {
      await one.connect(a.mqttPort);
      await one.subscribe(filter, 2);
    }
    for (const one of this.away) one.disconnect();
    for (const one of this.publishers) {
      await one.connect(one.options.index < 2 ? b.mqttPort : c.mqttPort);
    }
    for (const one of this.publishers) one.publishTo(one.options.count * firstPart);
    await this.waitFor("the first messages", () => this.answered >= this.options.before);
    await a.kill();
    this.begun = [...this.roaming.open.values()];
    this.receivedBefore = this.roaming.received;
    this.roaming.disconnect();
    this.roaming.forget();
  }

  /** Meanwhile the client begins its younger session. */
  private async publishAll(): Promise<void> {
    const [, b, c] = this.nodes;
    this.phase("while it is away");
    for (const node of [b, c]) await node.sees([b, c]);
    await this.waitFor("a third of them", () => this.answered >= this.options.count / 3);
    await this.roaming.connect(b.mqttPort);
    if (this.roaming.isSessionPresent) this.faults.push("a session that cannot be reached");
    await this.roaming.subscribe(filter, 2);
    const sent = this.publishers.map((one) => one.sent);
    for (const one of this.publishers) one.publishTo(one.options.count);
    const all = (): boolean => this.publishers.every(({ isDone }) => isDone);
    await this.waitFor("all answers", all);
    const live = (): boolean =>
      this.roaming.taken.every(({ highest }, i) => {
        const due = this.highestOf(i);
        return highest === due || due <= (sent[i] ?? 0);
      });
    await this.waitFor("what is published meanwhile", live);
  }

  private highestOf(index: number): number {
    const { refused, options } = this.publisher(index);
    for (let number = options.count; number > 0; number--) if (!refused.has(number)) return number;
    return 0;
  }

  /** Until the client has everything that was accepted, or nothing comes any more. */
  private async settled(one: Subscriber): Promise<void> {
    const due = this.options.count - this.refused;
    let before = -1;
    let sinceMs = performance.now();
    const isOver = (): boolean => {
      const distinct = one.taken.reduce((sum, taken) => sum + taken.distinct, 0);
      if (distinct >= due) return true;
      if (one.received !== before) {
        before = one.received;
        sinceMs = performance.now();
      }
      return performance.now() - sinceMs > quietMs;
    };
    await this.waitFor(`the messages of ${one.clientId}`, isOver);
  }

  private publisher(index: number): Publisher {
    const found = this.publishers[index];
    if (found === undefined) throw new Error("no such publisher");
    return found;
  }

  private async check(): Promise<void> {
    let missing = 0;
    for (const one of [...this.away, this.roaming]) {
      for (const [index, taken] of one.taken.entries()) {
        const { refused, options } = this.publisher(index);
        missing += options.count - refused.size - taken.distinct;
        const of = `${one.clientId}, publisher ${index} with QoS ${options.qos}`;
        for (const number of refused) {
          if ((taken.times[number] ?? 0) > 0)
            this.faults.push(`${of}: ${number}, which was refused`);
        }
        const again = this.againOf(one, index);
        if (options.qos === 2 && taken.repeated > again) {
          const { repeated, repeatedFrom, repeatedTo } = taken;
          this.faults.push(
            `${of}: ${repeated} came again, ${again} may; from ${repeatedFrom} to ${repeatedTo} of ${options.count}`,
          );
        }
        // What its older session had comes to the roaming client behind what it got by itself, in order.
        if (one !== this.roaming && taken.late > 0) {
          this.faults.push(`${of}: ${taken.late} came late`);
        }
        if (taken.disordered > 0) this.faults.push(`${of}: ${taken.disordered} out of order`);
      }
    }
    let dropped = 0;
    for (const node of this.nodes) dropped += await node.metric("session.dropped_queue_full");
    this.note("dropped at full queues, as counted by the nodes", dropped.toLocaleString("en"));
    this.note("did not come", missing.toLocaleString("en"));
    // What the roaming client has had of its dead node may still have waited there, and be dropped.
    if (missing > dropped || dropped > missing + this.receivedBefore) {
      this.faults.push(`${missing} did not come, ${dropped} were dropped`);
    }
  }

  /** How many messages with QoS 2 of that publisher may come once more to the client. */
  private againOf(one: Subscriber, index: number): number {
    if (one !== this.roaming) return 0;
    return this.begun.filter(({ publisher }) => publisher === index).length;
  }

  /** Waits until numbers of a node's metrics are so. */
  private async reaches(node: TestNode, ...wanted: (string | number)[]): Promise<void> {
    let seen: unknown[] = [];
    await until(
      `${wanted.join(" ")} at ${node.name}`,
      async () => {
        const metrics = await node.ctl<Record<string, number>>("metrics");
        seen = wanted.filter((_, i) => i % 2 === 0).map((name) => metrics[String(name)]);
        return seen.every((value, i) => value === wanted[2 * i + 1]) || undefined;
      },
      () => seen.join(" "),
      this.options.deadlineMs,
    );
  }

  private waitFor(what: string, condition: () => boolean): Promise<true> {
    const seen = (): string =>
      [...this.away, this.roaming].map((one) => `${one.clientId} ${one.received}`).join(", ");
    return until(what, () => condition() || undefined, seen, this.options.deadlineMs);
  }

  private async timed(what: string, action: () => Promise<unknown>): Promise<void> {
    const beganMs = performance.now();
    await action();
    this.note(what, `${((performance.now() - beganMs) / 1000).toFixed(1)} s`);
  }

  private note(what: string, value: string): void {
    this.figures.push([what, value]);
  }

  private phase(phase: string): void {
    this.peaks.push({ phase, ownBytes: [0, 0, 0] });
  }

  private async sample(): Promise<void> {
    this.isSampling = true;
    while (this.isSampling) {
      const peak = this.peaks.at(-1);
      for (const [index, node] of this.nodes.entries()) {
        if (peak === undefined) break;
        peak.ownBytes[index] = Math.max(peak.ownBytes[index] ?? 0, ownBytesOf(node.pid));
      }
      await new Promise((resolve) => setTimeout(resolve, sampleMs));
    }
  }

  private notePeaks(): void {
    for (const { phase, ownBytes } of this.peaks) {
      const mib = ownBytes.map((bytes) => Math.round(bytes / 2 ** 20));
      this.note(`memory of the three nodes at most, ${phase}`, `${mib.join(", ")} MiB`);
    }
  }
}

const quietMs = 5000;

/** Resident memory of a process without files; 0: it is not there. */
function ownBytesOf(pid: number): number {
  try {
    const kib = /RssAnon:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
    return Number(kib ?? 0) * 1024;
  } catch {
    return 0;
  }
}
