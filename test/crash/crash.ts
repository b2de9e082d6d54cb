/**
 * Kills a broker's process at random moments under load, starts it again, brings its clients back and
 * holds what they were told against what they get: nothing acknowledged is lost, QoS 2 comes exactly once,
 * order is kept, sessions and retained messages are there, and wills of those who were connected come once.
 */
import type { TestNode } from "../support/nodes.js";
import { until } from "../support/nodes.js";
import { CrashClient, Publisher, Subscriber, Watcher } from "./client.js";

/** Numbers from 0 up to, not including, 1. */
export type Chance = () => number;

export function chanceFrom(seed: number): Chance {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const retainedTopics = 8;
const lateMs = 2000;
const faultsShown = 40;
const settleDeadlineMs = 60_000;
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** One node and its clients, over any number of rounds. */
export class CrashTrial {
  private readonly publishers: Publisher[] = [];
  private readonly retaining: Publisher;
  private readonly online: Subscriber[] = [];
  private readonly offline: Subscriber[] = [];
  private readonly flipping: Subscriber;
  private readonly watcher: Watcher;
  private readonly mortals: CrashClient[] = [];
  /** Payloads of wills that must come once, with QoS 2 not more often either. */
  private round = 0;
  kills = 0;

  constructor(
    private readonly node: TestNode,
    private readonly chance: Chance,
  ) {
    for (const qos of [1, 2] as const) {
      for (const version of [4, 5] as const) {
        const clientId = `p-q${qos}-v${version}`;
        const topicOf = (): string => `crash/${clientId}`;
        const window = qos === 1 ? 40 : 20;
        this.publishers.push(
          new Publisher({
            clientId,
            version,
            persistent: true,
            qos,
            window,
            topicOf,
            retain: false,
          }),
        );
      }
    }
    this.retaining = new Publisher({
      ...{ clientId: "p-retain", version: 5, persistent: true, qos: 1, window: 10, retain: true },
      topicOf: (number) => `crash-retained/${number % retainedTopics}`,
    });
    const subscriber = (clientId: string, version: 4 | 5): Subscriber =>
      new Subscriber({ clientId, version, persistent: true });
    this.online.push(subscriber("s-online-4", 4), subscriber("s-online-5", 5));
    this.offline.push(subscriber("s-offline-4", 4), subscriber("s-offline-5", 5));
    this.flipping = subscriber("s-flipping", 4);
    this.watcher = new Watcher({ clientId: "s-wills", version: 5, persistent: true });
    for (let i = 0; i < 4; i++) {
      const version = i < 2 ? 4 : 5;
      this.mortals.push(new CrashClient({ clientId: `m-${i}`, version, persistent: i % 2 === 0 }));
    }
  }

  /** Messages that were acknowledged so far. */
  get acknowledged(): number {
    return this.publishers.reduce((sum, { acknowledged }) => sum + acknowledged, 0);
  }

  /** The first connections and all subscriptions. */
  async begin(): Promise<void> {
    const { mqttPort: port } = this.node;
    for (const subscriber of [...this.online, ...this.offline, this.flipping]) {
      await subscriber.connect(port);
      await subscriber.subscribe("crash/#");
    }
    await this.watcher.connect(port);
    await this.watcher.subscribe("crash-will/#");
    for (const subscriber of this.offline) subscriber.disconnect();
  }

  /** Load, a kill, a restart, everybody back; rejects with what was wrong. */
  async play(): Promise<void> {
    this.round++;
    const { mqttPort: port } = this.node;
    await this.connectMortals(port);
    for (const publisher of [...this.publishers, this.retaining]) {
      publisher.isPublishing = true;
      if (!publisher.isOnline) await publisher.connect(port);
      publisher.publishMore();
    }
    await this.flipFor(20 + this.chance() * 900);
    this.leaverIsGone = (this.committing?.acknowledged ?? 0) > this.leftAt;
    await this.node.kill();
    this.kills++;
    for (const client of this.clients()) client.disconnect(false);
    // Sometimes it dies once more while it reads what it has stored.
    if (this.chance() < 0.3) {
      const started = this.node.start().catch(() => undefined);
      await pause(this.chance() * 1500);
      await this.node.kill();
      this.kills++;
      void started;
    }
    await this.node.start();
    await this.checkRetained(false);
    await this.comeBack();
    await this.checkRetained(true);
    await this.checkWills();
    await this.complain();
  }

  private clients(): CrashClient[] {
    const takers = [...this.online, ...this.offline, this.flipping, this.watcher];
    return [...this.publishers, this.retaining, ...takers, ...this.mortals];
  }

  private async connectMortals(port: number): Promise<void> {
    for (const [i, mortal] of this.mortals.entries()) {
      const payload = `${mortal.clientId} ${this.round}`;
      const qos = i % 2 === 0 ? 2 : 1;
      await mortal.connect(port, { topic: `crash-will/${mortal.clientId}`, payload, qos });
    }
    // One of them leaves as it should: its will must not come.
    const [, , leaver] = this.mortals;
    this.leftAt = Number.POSITIVE_INFINITY;
    const left = this.chance() < 0.5 ? leaver?.leave() : undefined;
    void left?.then(() => {
      this.leftAt = this.committing?.sent ?? this.leftAt;
    });
    this.leaverWent = !(leaver?.isOnline ?? false);
  }

  private leaverWent = false;
  /** What had been sent when the broker had read that it left. A DISCONNECT has no answer. */
  private leftAt = Number.POSITIVE_INFINITY;
  /** It is in the store that it left: something sent later was acknowledged. */
  private leaverIsGone = false;

  /** Its messages are acknowledged when they are in the store, with all that happened before. */
  private get committing(): Publisher | undefined {
    return this.publishers[0];
  }

  /** Load goes on while one subscriber comes and goes. */
  private async flipFor(ms: number): Promise<void> {
    const end = performance.now() + ms;
    while (performance.now() < end) {
      await pause(Math.min(30 + this.chance() * 150, Math.max(0, end - performance.now())));
      if (this.flipping.isOnline) this.flipping.disconnect(this.chance() < 0.5);
      else await this.flipping.connect(this.node.mqttPort);
    }
  }

  /** Everybody connects again; returns when all that was sent has arrived everywhere. */
  private async comeBack(): Promise<void> {
    const { mqttPort: port } = this.node;
    const takers = [...this.online, ...this.offline, this.flipping];
    const senders = [...this.publishers, this.retaining];
    for (const sender of senders) sender.isPublishing = false;
    // Some take while publishers repeat, others find a queue.
    for (const taker of this.online) await taker.connect(port);
    await this.watcher.connect(port);
    for (const sender of senders) await sender.connect(port);
    const seen = (): string => this.describe(takers);
    await until(
      "answers to all publishes",
      () => senders.every(({ isSettled }) => isSettled) || this.faulty() || undefined,
      seen,
      settleDeadlineMs,
    );
    for (const taker of [...this.offline, this.flipping]) await taker.connect(port);
    await until(
      "all messages at all subscribers",
      () => this.isComplete(takers) || this.faulty() || undefined,
      seen,
      settleDeadlineMs,
    );
    for (const taker of this.offline) taker.disconnect();
  }

  private isComplete(takers: readonly Subscriber[]): boolean {
    return takers.every((taker) =>
      this.publishers.every(({ clientId, sent }) => taker.lastOf(clientId) === sent),
    );
  }

  private describe(takers: readonly Subscriber[]): string {
    const lines = this.publishers.map(({ clientId, sent, acknowledged }) => {
      const lasts = takers.map((taker) => `${taker.clientId} ${taker.lastOf(clientId)}`);
      return `${clientId}: sent ${sent}, acknowledged ${acknowledged}; ${lasts.join(", ")}`;
    });
    return `\n${lines.join("\n")}\n${this.faults().join("\n")}`;
  }

  /** Before its publisher is back a topic may hold anything from the last acknowledged number on. */
  private async checkRetained(settled: boolean): Promise<void> {
    const { sent, acknowledged } = this.retaining;
    const reader = new Watcher({ clientId: `r-${this.round}`, version: 4, persistent: false });
    await reader.connect(this.node.mqttPort);
    await reader.subscribe("crash-retained/#");
    const wanted: [topic: string, least: number][] = [];
    const upTo = settled ? sent : acknowledged;
    for (let number = Math.max(1, upTo - retainedTopics + 1); number <= upTo; number++) {
      wanted.push([`crash-retained/${number % retainedTopics}`, number]);
    }
    await until(
      "retained messages",
      () => wanted.every(([topic]) => reader.payloads.has(topic)) || undefined,
      () => `${[...reader.payloads.keys()].join(" ")} of ${wanted.join(" ")}`,
    );
    for (const [topic, least] of wanted) {
      const held = Number(reader.payloads.get(topic)?.[0]?.split(" ")[1]);
      if (held >= least && held <= sent) continue;
      reader.faults.push(`${topic} holds ${held}: ${least} was acknowledged, ${sent} sent`);
    }
    reader.disconnect();
    if (reader.faults.length > 0) throw new Error(reader.faults.join("\n"));
  }

  private async checkWills(): Promise<void> {
    const due = this.mortals.filter((_, i) => !(i === 2 && this.leaverWent));
    const has = ({ clientId }: CrashClient): number =>
      (this.watcher.payloads.get(`crash-will/${clientId}`) ?? []).filter(
        (payload) => payload === `${clientId} ${this.round}`,
      ).length;
    await until(
      "the wills of all clients that were connected",
      () => due.every((mortal) => has(mortal) > 0) || undefined,
      () => due.map((mortal) => `${mortal.clientId}: ${has(mortal)}`).join(", "),
    );
    for (const [i, mortal] of this.mortals.entries()) {
      const count = has(mortal);
      const isDue = due.includes(mortal);
      if (!isDue && count > 0 && this.leaverIsGone)
        this.watcher.faults.push(`${mortal.clientId} left, its will came`);
      // A will of QoS 1 may come again when its acknowledgement was lost.
      if (i % 2 === 0 && count > 1)
        this.watcher.faults.push(`${mortal.clientId}: will ${count} times`);
    }
  }

  private faults(): string[] {
    return this.clients().flatMap(({ faults }) => faults);
  }

  private faulty(): true | undefined {
    return this.faults().length > 0 || undefined;
  }

  /** On a fault waits a little first: what is lost and what is late are two things. */
  private async complain(): Promise<void> {
    if (this.faults().length === 0) return;
    await pause(lateMs);
    throw new Error(this.faults().slice(0, faultsShown).join("\n"));
  }
}
