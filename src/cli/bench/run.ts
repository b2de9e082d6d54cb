/**
 * One run of the load generator: connects all clients, warms up, measures, waits for what is still
 * outstanding, and counts. A connection lost on the way ends the run with an error: figures of a run
 * that was not whole are not given.
 */
import type { Clock } from "../../lib/clock.js";
import { sleep } from "../../lib/clock.js";
import { Connection, type ConnectionOptions, type Role } from "./connection.js";
import { Flow } from "./flow.js";
import { Histogram } from "./histogram.js";
import type { LoadOptions, Mode } from "./load-options.js";
import { cpuSeconds, machineCpuSeconds, residentBytes } from "./processes.js";
import { Publisher } from "./publisher.js";
import { Subscriber } from "./subscriber.js";
import type { Qos } from "./wire.js";

export interface LoadResult {
  readonly mode: Mode;
  readonly qos: Qos;
  readonly sizeBytes: number;
  readonly seconds: number;
  /** Deliveries within the measured time. */
  readonly msgs: number;
  readonly msgsPerSecond: number;
  /** Deliveries per CPU second of the broker's processes; null without `--pid`. */
  readonly perCpuSecond: number | null;
  /** Of one core, in the measured time. Near 100 the generator may be what limits. */
  readonly generatorCpuPercent: number;
  /**
   * Of one core: what neither the generator nor the processes of `--pid` used. Where it is high, others
   * disturbed the measurement. Null without `--pid`.
   */
  readonly othersCpuPercent: number | null;
  /** Over the whole run, warm-up included, as the rest below. */
  readonly sent: number;
  readonly delivered: number;
  readonly lost: number;
  readonly duplicates: number;
  readonly outOfOrder: number;
  /** Publishes that the broker refused with a reason code, and those it never answered. */
  readonly refused: number;
  readonly unanswered: number;
  /** Deliveries of something that was not published in this run to this subscriber's topic. */
  readonly foreign: number;
  /** From the write to the read, of what was sent in the measured time; null when there was nothing. */
  readonly p50Ms: number | null;
  readonly p99Ms: number | null;
  readonly maxMs: number | null;
  /** Resident memory of the broker's processes at the end of the measured time. */
  readonly rssBytes: number | null;
}

/**
 * Runs one load and resolves with its figures; rejects when a connection fails or is lost, or when `stop` does.
 * `onProgress` gets the deliveries of the last half second, as a rate.
 */
export function runLoad(
  options: LoadOptions,
  clock: Clock,
  watch: LoadWatch = {},
): Promise<LoadResult> {
  return new Run(options, clock).run(watch);
}

export interface LoadWatch {
  readonly stop?: Promise<never>;
  readonly onProgress?: (msgsPerSecond: number) => void;
  /** All clients are connected and the warm-up begins. */
  readonly onConnected?: () => void;
}

const readBufferBytes = 262_144;
/** With nothing arriving for so long, held deliveries are written off. */
const writeOffMs = 500;
/** With QoS 0, silence for so long ends the wait for outstanding deliveries: they were dropped. */
const quietMs = 2000;
/** What a duplicate is given to arrive after the last message that was due. */
const graceMs = 50;
const pollMs = 5;
const progressMs = 500;

interface Moment {
  readonly atMs: number;
  readonly delivered: number;
  readonly brokerCpuSeconds: number;
  readonly ownCpuSeconds: number;
  readonly machineCpuSeconds: number;
}

/** Of a connection that only ends a session. */
const idle: Role = {
  publish: () => undefined,
  ack: () => undefined,
  endOfRead: () => undefined,
};

class Run {
  private readonly publishers: Publisher[];
  private readonly subscribers: Subscriber[];
  private readonly flow: Flow;
  private readonly latencies = new Histogram();
  private readonly readBuffer = Buffer.allocUnsafeSlow(readBufferBytes);
  private readonly startMs: number;
  private readonly nowUs: () => number;
  private readonly turn = (): void => this.onTurn();
  private publishing = false;
  private over = false;
  private turnAsked = false;
  private tickAsked = false;
  private first = 0;
  private paceFromMs = 0;
  private fail: (error: Error) => void = () => undefined;

  constructor(
    private readonly options: LoadOptions,
    private readonly clock: Clock,
  ) {
    this.startMs = clock.monotonicMs();
    this.nowUs = () => Math.floor((clock.monotonicMs() - this.startMs) * 1000);
    this.flow = new Flow(options.backlog, () => this.askTurn());
    const tag = (clock.wallMs() ^ (process.pid << 4)) & 0xfff;
    // Numbers of one length, so that all frames of a publisher have one length.
    const topics = Array.from(
      { length: options.topics },
      (_, i) => `${options.prefix}/${10_000 + i}`,
    );
    this.subscribers = Array.from({ length: options.subscribers }, (_, i) =>
      this.subscriber(i, tag, topics),
    );
    this.publishers = Array.from({ length: options.publishers }, (_, i) =>
      this.publisher(i, tag, topics),
    );
  }

  async run({ stop, onProgress, onConnected }: LoadWatch): Promise<LoadResult> {
    const lost = new Promise<never>((_, reject) => {
      this.fail = reject;
    });
    // A connection may be lost while nobody waits for this promise; whoever waits next hears of it.
    lost.catch(() => undefined);
    if (onProgress !== undefined) this.report(onProgress, 0);
    try {
      return await Promise.race([
        this.steps(onConnected),
        lost,
        ...(stop === undefined ? [] : [stop]),
      ]);
    } finally {
      this.over = true;
      this.stopPublishing();
      for (const { connection } of [...this.publishers, ...this.subscribers]) connection.destroy();
    }
  }

  private async steps(onConnected?: () => void): Promise<LoadResult> {
    // Subscribers first: what is published afterwards is due to all of them.
    await this.inTime("subscribing", Promise.all(this.subscribers.map((one) => one.open())));
    await this.inTime("connecting", Promise.all(this.publishers.map((one) => one.open())));
    onConnected?.();
    const { messages, warmUpMs, durationMs } = this.options;
    for (const one of this.publishers) one.limit = messages || this.paceLimit();
    this.publishing = true;
    this.paceFromMs = this.clock.monotonicMs();
    this.watchSilence();
    if (warmUpMs > 0) {
      this.askTurn();
      await sleep(this.clock, warmUpMs);
    }
    const from = this.moment();
    const measuredFromUs = this.nowUs();
    for (const one of this.subscribers) one.measuredFromUs = measuredFromUs;
    this.askTurn();
    await (messages > 0 ? this.settled() : sleep(this.clock, durationMs));
    const to = this.moment();
    const { pids } = this.options;
    const rssBytes = pids.length > 0 ? residentBytes(pids) : null;
    this.stopPublishing();
    if (messages === 0) await this.settled();
    await sleep(this.clock, graceMs);
    for (const { connection } of [...this.publishers, ...this.subscribers]) connection.close();
    if (this.options.persistent) await this.inTime("ending the sessions", this.endSessions());
    return this.result(from, to, rssBytes);
  }

  /** A clean session in place of each that would outlive the run. */
  private async endSessions(): Promise<void> {
    for (let i = 0; i < this.subscribers.length; i++) {
      const options = this.connection(this.subscriberId(i), i, this.options.subscriberAddresses);
      const connection = new Connection({ ...options, persistent: false }, idle);
      await connection.open();
      connection.close();
    }
  }

  private subscriberId(i: number): string {
    return `${this.options.prefix}-s${i}`;
  }

  private report(onProgress: (msgsPerSecond: number) => void, before: number): void {
    this.clock.setTimer(progressMs, () => {
      if (this.over) return;
      const { received } = this.flow;
      onProgress(((received - before) * 1000) / progressMs);
      this.report(onProgress, received);
    });
  }

  private stopPublishing(): void {
    this.publishing = false;
    for (const one of this.publishers) one.limit = 0;
  }

  /** Fails when `step` takes longer than the time-out. */
  private async inTime(what: string, step: Promise<unknown>): Promise<void> {
    const { timeoutMs } = this.options;
    const timer = this.clock.setTimer(timeoutMs, () =>
      this.fail(new Error(`${what} took more than ${timeoutMs} ms`)),
    );
    await step;
    this.clock.clearTimer(timer);
  }

  /** Resolves when everything sent was answered and delivered, or when that has become unlikely. */
  private async settled(): Promise<void> {
    const { drainMs, durationMs, messages, qos } = this.options;
    const untilMs = this.clock.monotonicMs() + drainMs + (messages > 0 ? durationMs : 0);
    let received = -1;
    let changedMs = 0;
    for (;;) {
      if (this.isSettled()) return;
      const nowMs = this.clock.monotonicMs();
      if (received !== this.flow.received) {
        received = this.flow.received;
        changedMs = nowMs;
      }
      if (nowMs > untilMs || (qos === 0 && nowMs - changedMs > quietMs)) return;
      await sleep(this.clock, pollMs);
    }
  }

  private isSettled(): boolean {
    // Not what was received: a duplicate would hide that another message is still under way.
    if (this.unique() < this.flow.expected) return false;
    const { messages } = this.options;
    return this.publishers.every((one) => one.idle() && one.sent >= messages);
  }

  private unique(): number {
    return sum(this.subscribers, (one) => one.unique);
  }

  private askTurn(): void {
    if (this.turnAsked || !this.publishing) return;
    this.turnAsked = true;
    this.clock.defer(this.turn);
  }

  /** One batch for each publisher that may send; another turn when one could go on. */
  private onTurn(): void {
    this.turnAsked = false;
    if (!this.publishing) return;
    const { ratePerSecond, tickMs } = this.options;
    if (ratePerSecond > 0) this.pace();
    let more = ratePerSecond > 0 && tickMs === 0;
    if (tickMs > 0) this.askTick(tickMs);
    const count = this.publishers.length;
    // Another one goes first each time: with little room the first would take it all.
    this.first = (this.first + 1) % count;
    for (let i = 0; i < count; i++) {
      if (this.publishers[(this.first + i) % count]?.pump()) more = true;
    }
    if (more) this.askTurn();
  }

  /** Another turn when the tick is over, whatever asks for one before. */
  private askTick(tickMs: number): void {
    if (this.tickAsked) return;
    this.tickAsked = true;
    this.clock.setTimer(tickMs, () => {
      this.tickAsked = false;
      this.askTurn();
    });
  }

  private paceLimit(): number {
    return this.options.ratePerSecond > 0 ? 0 : Number.MAX_SAFE_INTEGER;
  }

  /** Raises each publisher's limit to what is due by now, in turn over the publishers. */
  private pace(): void {
    const { ratePerSecond, messages } = this.options;
    const elapsedMs = this.clock.monotonicMs() - this.paceFromMs;
    const due = Math.floor((elapsedMs * ratePerSecond) / 1000) + 1;
    const count = this.publishers.length;
    for (let i = 0; i < count; i++) {
      const limit = Math.floor((due + count - 1 - i) / count);
      const one = this.publishers[i];
      if (one !== undefined) one.limit = messages > 0 ? Math.min(messages, limit) : limit;
    }
  }

  private watchSilence(): void {
    let received = 0;
    let changedMs = this.clock.monotonicMs();
    const check = (): void => {
      const nowMs = this.clock.monotonicMs();
      if (received !== this.flow.received) {
        received = this.flow.received;
        changedMs = nowMs;
      } else if (nowMs - changedMs > writeOffMs) this.flow.writeOff();
      if (this.publishing) this.clock.setTimer(writeOffMs / 5, check);
    };
    check();
  }

  private moment(): Moment {
    const { user, system } = process.cpuUsage();
    const { pids } = this.options;
    return {
      atMs: this.clock.monotonicMs(),
      delivered: this.flow.received,
      brokerCpuSeconds: pids.length > 0 ? cpuSeconds(pids) : 0,
      ownCpuSeconds: (user + system) / 1e6,
      machineCpuSeconds: pids.length > 0 ? machineCpuSeconds() : 0,
    };
  }

  private result(from: Moment, to: Moment, rssBytes: number | null): LoadResult {
    const { mode, qos, sizeBytes } = this.options;
    const seconds = (to.atMs - from.atMs) / 1000;
    const msgs = to.delivered - from.delivered;
    const cpu = to.brokerCpuSeconds - from.brokerCpuSeconds;
    const own = to.ownCpuSeconds - from.ownCpuSeconds;
    const others = to.machineCpuSeconds - from.machineCpuSeconds - own - cpu;
    const sent = sum(this.publishers, (one) => one.sent);
    const refused = sum(this.publishers, (one) => one.refused);
    const answered = sum(this.publishers, (one) => one.acked) + refused;
    return {
      mode,
      qos,
      sizeBytes,
      seconds: rounded(seconds, 3),
      msgs,
      msgsPerSecond: rounded(msgs / seconds, 0),
      perCpuSecond: cpu > 0 ? rounded(msgs / cpu, 0) : null,
      generatorCpuPercent: rounded((100 * own) / seconds, 0),
      othersCpuPercent:
        this.options.pids.length > 0 ? Math.max(0, rounded((100 * others) / seconds, 0)) : null,
      sent,
      delivered: this.flow.received,
      lost: this.flow.expected - this.unique(),
      duplicates: sum(this.subscribers, (one) => one.duplicates),
      outOfOrder: sum(this.subscribers, (one) => one.outOfOrder),
      refused,
      unanswered: qos === 0 ? 0 : sent - answered,
      foreign: sum(this.subscribers, (one) => one.foreign),
      p50Ms: milliseconds(this.latencies.percentile(0.5)),
      p99Ms: milliseconds(this.latencies.percentile(0.99)),
      maxMs: milliseconds(this.latencies.max),
      rssBytes,
    };
  }

  private subscriber(i: number, tag: number, topics: readonly string[]): Subscriber {
    const { options, flow, latencies, nowUs } = this;
    const all = options.mode === "fanin";
    const topic = all ? 0 : i % topics.length;
    const { qos, sizeBytes, publishers, ownTopic } = options;
    const filter = all ? `${options.prefix}/#` : (topics[topic] ?? "");
    const common = { tag, filter, qos, sizeBytes, publishers, flow, latencies, nowUs, ownTopic };
    return new Subscriber(
      { ...common, topic, topics: all ? 1 : topics.length },
      {
        ...this.connection(this.subscriberId(i), i, options.subscriberAddresses),
        persistent: options.persistent,
      },
    );
  }

  private publisher(i: number, tag: number, topics: readonly string[]): Publisher {
    const { options, flow, nowUs } = this;
    const { qos, sizeBytes, version, window } = options;
    const v5 = version === 5;
    const fanIn = options.mode === "fanin";
    // Each begins at another topic; its n-th message goes to topic (i + n) % topics.
    const at = i % topics.length;
    const own =
      fanIn || options.ownTopic
        ? topics.slice(at, at + 1)
        : [...topics.slice(at), ...topics.slice(0, at)];
    const fanOut = fanIn ? 1 : options.subscribers / topics.length;
    const common = { tag, number: i, topics: own, fanOut, qos, sizeBytes, v5, window, flow, nowUs };
    return new Publisher(
      { ...common, onReady: () => this.askTurn() },
      this.connection(`${this.options.prefix}-p${i}`, i, options.publisherAddresses),
    );
  }

  private connection(
    clientId: string,
    i: number,
    addresses: LoadOptions["publisherAddresses"],
  ): ConnectionOptions {
    const address = addresses[i % addresses.length];
    if (address === undefined) throw new RangeError("no address");
    const onLost = (error: Error): void => this.fail(error);
    const { version, login, tls } = this.options;
    const { readBuffer } = this;
    return { address, clientId, version, login, tls, persistent: false, readBuffer, onLost };
  }
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}

function rounded(value: number, digits: number): number {
  return Math.round(value * 10 ** digits) / 10 ** digits;
}

function milliseconds(us: number | undefined): number | null {
  return us === undefined ? null : rounded(us / 1000, 3);
}
