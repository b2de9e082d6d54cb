/**
 * Finding peers: asks every configured strategy at the start and again and again, and hands on whoever
 * is not this node. It keeps no memory of what it found: a node that is there is handed on every time,
 * so that one that could not be joined is tried again. At most one question per strategy is open.
 */
import { Backoff } from "../../lib/backoff.js";
import type { Clock, Timer } from "../../lib/clock.js";
import type { Log } from "../../lib/log.js";
import type { Random } from "../../lib/random.js";
import { staticList } from "./static.js";
import type { StaticSettings } from "./static.js";
import type { FoundNode, Strategy } from "./strategy.js";

export type { FoundNode, Strategy } from "./strategy.js";

/** The settings below `cluster.discovery`. */
export interface DiscoverySettings {
  readonly static: StaticSettings;
}

/**
 * The configured strategies by their key in the settings.
 * @throws Refusal when a setting makes no sense
 */
export function openStrategies(settings: DiscoverySettings): ReadonlyMap<string, Strategy> {
  const all: Record<keyof DiscoverySettings, Strategy | null> = {
    static: staticList(settings.static),
  };
  const configured = new Map<string, Strategy>();
  for (const [key, strategy] of Object.entries(all)) {
    if (strategy !== null) configured.set(key, strategy);
  }
  return configured;
}

export interface DiscoveryOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly strategies: ReadonlyMap<string, Strategy>;
  /** Who this node is: it is dropped from what is found. The port may be known only later. */
  readonly self: () => FoundNode;
  /** Called for each other node found, once per answer of a strategy. */
  readonly onFound: (node: FoundNode, strategy: string) => void;
  /** Time between an answer and the next question, spread to ± 25 %. */
  readonly intervalMs?: number;
}

const intervalDefaultMs = 1_000;
/** A strategy that has not answered by then has failed, and its late answer is ignored. */
const findTimeoutMs = 10_000;
const retryFirstMs = 500;
const retryMostMs = 60_000;

export class Discovery {
  /** Questions that failed or took too long, by strategy. */
  readonly failures = new Map<string, number>();
  private readonly polls: Poll[] = [];

  constructor(private readonly options: DiscoveryOptions) {}

  /** Asks all strategies now, and from now on. */
  start(): void {
    for (const [key, strategy] of this.options.strategies) {
      this.failures.set(key, 0);
      const poll = new Poll(key, strategy, this.options, this.failures);
      this.polls.push(poll);
      poll.ask();
    }
  }

  /** Nothing is asked or handed on any more. */
  stop(): void {
    for (const poll of this.polls.splice(0)) poll.stop();
  }
}

/** One strategy, asked in turn. */
class Poll {
  private readonly backoff: Backoff;
  private timer: Timer | undefined;
  /** Number of the question that is open; an answer to another one is late. */
  private question = 0;
  private failing = false;

  constructor(
    private readonly key: string,
    private readonly strategy: Strategy,
    private readonly options: DiscoveryOptions,
    private readonly failures: Map<string, number>,
  ) {
    this.backoff = new Backoff(options.random, retryFirstMs, retryMostMs);
  }

  ask(): void {
    const question = ++this.question;
    const settle = (act: () => void): void => {
      if (question === this.question) act();
    };
    this.timer = this.options.clock.setTimer(findTimeoutMs, () => {
      this.failed(`no answer within ${findTimeoutMs / 1000} s`);
    });
    this.find().then(
      (nodes) => settle(() => this.answered(nodes)),
      (error: unknown) =>
        settle(() => this.failed(error instanceof Error ? error.message : String(error))),
    );
  }

  stop(): void {
    this.question++;
    this.options.clock.clearTimer(this.timer);
  }

  /** An error thrown at once is an error like any other. */
  private async find(): Promise<readonly FoundNode[]> {
    return this.strategy.find();
  }

  private answered(nodes: readonly FoundNode[]): void {
    if (this.failing) this.options.log.info({ strategy: this.key }, "discovery works again");
    this.failing = false;
    this.backoff.reset();
    // Spread, so that nodes that were started together do not ask each other in step for ever.
    const spread = 0.75 + this.options.random.fraction() / 2;
    this.again((this.options.intervalMs ?? intervalDefaultMs) * spread);
    const self = this.options.self();
    const handedOn = new Set<string>();
    for (const node of nodes) {
      const identity = `${node.name ?? ""} ${node.host} ${node.port ?? ""}`;
      if (isSame(node, self) || handedOn.has(identity)) continue;
      handedOn.add(identity);
      this.options.onFound(node, this.key);
    }
  }

  private failed(why: string): void {
    this.failures.set(this.key, (this.failures.get(this.key) ?? 0) + 1);
    const fields = { strategy: this.key, why };
    // Once per outage: a source that is away for a day is one line, not thousands.
    if (this.failing) this.options.log.debug(fields, "discovery failed again");
    else this.options.log.warn(fields, "discovery failed; trying again");
    this.failing = true;
    this.again(this.backoff.nextMs());
  }

  private again(delayMs: number): void {
    this.question++;
    this.options.clock.clearTimer(this.timer);
    this.timer = this.options.clock.setTimer(delayMs, () => this.ask());
  }
}

/** A host alone does not tell: several nodes may share it. The handshake finds out the rest. */
function isSame(node: FoundNode, self: FoundNode): boolean {
  if (node.name !== undefined && self.name !== undefined) return node.name === self.name;
  return node.port !== undefined && node.host === self.host && node.port === self.port;
}
