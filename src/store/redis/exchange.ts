/**
 * Calls of scripts: each goes to the master that holds its bucket, those of one master as one pipeline, with a
 * deadline and a circuit breaker for each master. Nothing here waits without a limit, and every call gets
 * an outcome of its own. A server is used only after it was looked at (checks.ts), again for each connection.
 */
import { Command, type Redis } from "ioredis";
import type { Clock } from "../../lib/clock.js";
import type { Log } from "../../lib/log.js";
import type { StoreFailure } from "../store.js";
import { CircuitBreaker, type BreakerSettings, type BreakerState } from "./breaker.js";
import type { Argument, Master, RedisClient } from "./client.js";
import { detourOf, failureOf } from "./failures.js";
import { ScriptCall } from "./script-call.js";
import { type Script, scripts } from "./scripts.js";

export interface Call {
  readonly bucket: number;
  readonly script: Script;
  readonly keys: readonly string[];
  readonly args: readonly Argument[];
  /** About how much is sent. */
  readonly bytes: number;
}

/** What became of a call. */
export type Outcome =
  | { readonly reply: unknown; readonly failure: null }
  | { readonly reply: null; readonly failure: StoreFailure };

export interface ExchangeOptions {
  readonly client: RedisClient;
  readonly clock: Clock;
  readonly log: Log;
  readonly breaker: BreakerSettings;
  readonly callTimeoutMs: number;
  /** Replicas that must have a write; 0: none. */
  readonly waitReplicas: number;
  /** What makes a server unfit, as a sentence; null: nothing. May reject. */
  readonly check: (redis: Redis) => Promise<string | null>;
}

/** A call, its place among all, and what it got so far. */
interface Pending {
  readonly call: Call;
  readonly index: number;
}

type Reply = readonly [error: Error | null, reply: unknown];

interface Round {
  readonly writing: boolean;
  /** Nothing is made again after it. */
  readonly final: boolean;
  readonly outcomes: Outcome[];
}

/** A pipeline that is longer is cut, so that each part has a fair chance to keep the deadline. */
const pipelineBytes = 128 * 1024;
const pipelineCalls = 250;
const pipelinesAtOnce = 3;
/** Once as it is; then for what has moved or is unknown to a server. */
const roundsMax = 3;

export class Exchange {
  readonly counters = {
    calls: 0,
    pipelines: 0,
    failures: 0,
    timeouts: 0,
    scriptsLoaded: 0,
    redirected: 0,
    breakerOpened: 0,
    breakerRefused: 0,
    unfit: 0,
  };
  private readonly breakers = new Map<string, CircuitBreaker>();
  private readonly fit = new WeakSet<Redis>();

  constructor(private readonly options: ExchangeOptions) {}

  /** Whether one server has all buckets. */
  get isOneServer(): boolean {
    return this.options.client.isOneServer;
  }

  /** The worst state of any master's breaker. */
  get breakerState(): BreakerState {
    const states = new Set([...this.breakers.values()].map(({ state }) => state));
    if (states.has("open")) return "open";
    return states.has("half-open") ? "half-open" : "closed";
  }

  /** Makes all calls; one outcome each, in their order. Never rejects. `writing`: replicas are waited for. */
  async call(calls: readonly Call[], writing: boolean): Promise<Outcome[]> {
    this.counters.calls += calls.length;
    const outcomes: Outcome[] = new Array(calls.length);
    let left = calls.map((call, index): Pending => ({ call, index }));
    for (let round = 1; left.length > 0; round++) {
      const { groups, lost } = this.byMaster(left);
      const last = { writing, final: round === roundsMax, outcomes };
      const runs = groups.map(([master, group]) => this.run(master, group, last));
      left = (await Promise.all(runs)).flat();
      // A connection that idled too long is closed: looked up again, the server is dialled again.
      if (round === 1) left.push(...lost);
      else for (const { index } of lost) outcomes[index] = this.notConnected();
      if (left.length > 0) await this.refresh();
    }
    for (const { failure } of outcomes) if (failure !== null) this.counters.failures++;
    return outcomes;
  }

  /**
   * Looks at all masters that are known. Null: all are fit, and there is one at least; else why not. `kind` is `broken` for
   * what no waiting heals.
   */
  async problem(): Promise<StoreFailure | null> {
    const { client } = this.options;
    const masters = client.route()(0) === null ? [] : client.masters();
    if (masters.length === 0)
      return { kind: "unavailable", why: client.trouble || "it is not connected" };
    for (const master of masters) {
      const before = this.counters.unfit;
      const outcome = await this.admit(master);
      if (outcome?.failure == null) continue;
      const { kind, why } = outcome.failure;
      return { kind: this.counters.unfit > before ? "broken" : kind, why };
    }
    return null;
  }

  private notConnected(): Outcome {
    const { trouble } = this.options.client;
    return failed("unavailable", trouble === "" ? "Redis is not connected" : `Redis: ${trouble}`);
  }

  /** Calls by master, and those whose bucket nobody is known to hold. */
  private byMaster(pending: readonly Pending[]): {
    groups: [Master, Pending[]][];
    lost: Pending[];
  } {
    const masterOf = this.options.client.route();
    const groups = new Map<string, [Master, Pending[]]>();
    const lost: Pending[] = [];
    for (const one of pending) {
      const master = masterOf(one.call.bucket);
      const group = master === null ? undefined : groups.get(master.name);
      if (group !== undefined) group[1].push(one);
      else if (master !== null) groups.set(master.name, [master, [one]]);
      else lost.push(one);
    }
    return { groups: [...groups.values()], lost };
  }

  /**
   * One master's calls, in pipelines: it works at one while the next is put together. Returns what is to be made
   * again.
   */
  private async run(master: Master, group: readonly Pending[], round: Round): Promise<Pending[]> {
    const again: Pending[] = [];
    let down = await this.admit(master);
    let first = 0;
    const work = async (): Promise<void> => {
      while (first < group.length) {
        const part = group.slice(first, first + partLength(group, first));
        first += part.length;
        const replies =
          down === null ? await this.pipeline(master, part, round.writing) : downAlready;
        if (!(replies instanceof Error)) {
          again.push(...(await this.settle(master, part, replies, round)));
          continue;
        }
        // Of several pipelines that fail together one counts.
        down ??= this.unreachable(master, replies);
        for (const { index } of part) round.outcomes[index] = down;
      }
    };
    await Promise.all(Array.from({ length: pipelinesAtOnce }, work));
    return again;
  }

  /** Null when calls may go to the server now, else their outcome. */
  private async admit(master: Master): Promise<Outcome | null> {
    const breaker = this.breakerOf(master);
    if (!breaker.admits()) {
      this.counters.breakerRefused++;
      const { trouble } = this.options.client;
      return failed("unavailable", `Redis ${master.name} is left alone: ${trouble || "it failed"}`);
    }
    const { redis } = master;
    if (this.fit.has(redis)) return null;
    const problem = await this.within(this.prepare(redis)).catch((error: unknown) => {
      return error instanceof Error ? error : new Error(String(error));
    });
    if (problem instanceof Error) return this.unreachable(master, problem);
    this.answered(master);
    if (problem !== null) {
      this.counters.unfit++;
      return failed("unavailable", problem);
    }
    this.fit.add(redis);
    redis.once("close", () => this.fit.delete(redis));
    return null;
  }

  /** A sentence when the server is unfit; else it knows the scripts afterwards. */
  private async prepare(redis: Redis): Promise<string | null> {
    const problem = await this.options.check(redis);
    if (problem !== null) return problem;
    await Promise.all(scripts.map(({ text }) => redis.script("LOAD", text)));
    this.counters.scriptsLoaded += scripts.length;
    return null;
  }

  private async pipeline(
    { redis }: Master,
    part: readonly Pending[],
    writing: boolean,
  ): Promise<readonly Reply[] | Error> {
    this.counters.pipelines++;
    const { waitReplicas, callTimeoutMs } = this.options;
    const commands: Command[] = part.map(({ call }) => {
      return new ScriptCall(call.script.sha, call.keys, call.args);
    });
    if (writing && waitReplicas > 0) {
      const times = [String(waitReplicas), String(Math.ceil(callTimeoutMs / 2))];
      commands.push(new Command("wait", times));
    }
    try {
      const replies = await this.within(sendAll(redis, commands));
      // A connection that broke gives the same error to each; one that an answer came from did not.
      const lost = replies.find(([error]) => error !== null && isConnectionError(error));
      return lost?.[0] ?? replies;
    } catch (error) {
      if (error instanceof DeadlineError) {
        this.counters.timeouts++;
        redis.stream?.destroy();
      }
      return error instanceof Error ? error : new Error(String(error));
    }
  }

  /** Gives outcomes to those that have one; returns those that are to be made again. */
  private async settle(
    master: Master,
    part: readonly Pending[],
    replies: readonly Reply[],
    { writing, final, outcomes }: Round,
  ): Promise<Pending[]> {
    this.answered(master);
    const again: Pending[] = [];
    const few = writing ? this.tooFewReplicas(part.length, replies) : null;
    for (const [at, pending] of part.entries()) {
      const [error, reply] = replies[at] ?? [new Error("no reply"), null];
      if (error === null) {
        outcomes[pending.index] = few ?? { reply, failure: null };
        continue;
      }
      const detour = detourOf(error);
      if (detour === undefined || final) {
        outcomes[pending.index] = { reply: null, failure: failureOf(error) };
      } else if (detour === "ask") {
        outcomes[pending.index] = await this.redirect(pending.call, writing);
      } else {
        if (detour === "moved") this.counters.redirected++;
        // It has forgotten them: looked at again, it gets them again.
        else this.fit.delete(master.redis);
        again.push(pending);
      }
    }
    return again;
  }

  /** The bucket is on its way to another server: that one is asked, outside of any pipeline. */
  private async redirect({ script, keys, args }: Call, writing: boolean): Promise<Outcome> {
    const { client, waitReplicas } = this.options;
    if (writing && waitReplicas > 0) {
      return failed("unavailable", "Redis: the slot is on its way to another server");
    }
    this.counters.redirected++;
    try {
      const call = client.redirected("eval", [script.text, String(keys.length), ...keys, ...args]);
      return { reply: await this.within(call), failure: null };
    } catch (error) {
      return { reply: null, failure: failureOf(error instanceof Error ? error : new Error()) };
    }
  }

  private tooFewReplicas(calls: number, replies: readonly Reply[]): Outcome | null {
    const { waitReplicas } = this.options;
    if (waitReplicas === 0) return null;
    const [error, count] = replies[calls] ?? [new Error("no reply"), 0];
    if (error !== null) return { reply: null, failure: failureOf(error) };
    if (Number(count) >= waitReplicas) return null;
    const why = `Redis: ${Number(count)} of ${waitReplicas} replicas have the write (store.redis.wait_replicas)`;
    return failed("unavailable", why);
  }

  private answered(master: Master): void {
    const breaker = this.breakerOf(master);
    if (breaker.state !== "closed") {
      this.options.log.info({ redis: master.name }, "Redis answers again");
    }
    breaker.succeeded();
  }

  private unreachable(master: Master, error: Error): Outcome {
    const failure = failureOf(error);
    const { trouble } = this.options.client;
    const why = isConnectionError(error) && trouble !== "" ? `Redis: ${trouble}` : failure.why;
    if (this.breakerOf(master).failed()) {
      this.counters.breakerOpened++;
      const { log } = this.options;
      log.warn(
        { redis: master.name, why },
        "Redis fails: it is left alone, and tried now and then",
      );
    }
    void this.options.client.refresh();
    return failed(failure.kind, why);
  }

  private breakerOf({ name }: Master): CircuitBreaker {
    const known = this.breakers.get(name);
    if (known !== undefined) return known;
    // Servers come and go in a Cluster: whoever is no master any more needs no breaker.
    const names = new Set(this.options.client.masters().map((master) => master.name));
    for (const other of this.breakers.keys()) if (!names.has(other)) this.breakers.delete(other);
    const made = new CircuitBreaker(this.options.clock, this.options.breaker);
    this.breakers.set(name, made);
    return made;
  }

  private async refresh(): Promise<void> {
    // Whether it took too long shows in the next round.
    await this.within(this.options.client.refresh()).catch(() => undefined);
  }

  /** Rejects with a DeadlineError when it takes too long. */
  private within<T>(promise: Promise<T>): Promise<T> {
    const { clock, callTimeoutMs } = this.options;
    return new Promise((resolve, reject) => {
      const onDue = (): void => {
        // When we were busy ourselves for so long, the answer may be there, not read yet.
        const lateMs = clock.monotonicMs() - timer.dueMs;
        if (lateMs > callTimeoutMs / 10) timer = clock.setTimer(callTimeoutMs, onDue);
        else
          reject(new DeadlineError(`no answer in ${callTimeoutMs} ms (store.redis.call_timeout)`));
      };
      let timer = clock.setTimer(callTimeoutMs, onDue);
      promise.then(resolve, reject).finally(() => clock.clearTimer(timer));
    });
  }
}

class DeadlineError extends Error {}

/** Sends all in one write; what became of each. */
function sendAll(redis: Redis, commands: readonly Command[]): Promise<Reply[]> {
  const { stream } = redis;
  stream?.cork();
  const replies = commands.map((command): Promise<Reply> => {
    redis.sendCommand(command);
    return command.promise.then(
      (reply: unknown): Reply => [null, reply],
      (error: unknown): Reply => [error instanceof Error ? error : new Error(String(error)), null],
    );
  });
  stream?.uncork();
  return Promise.all(replies);
}

const downAlready = new Error("a call before this one failed");

function failed(kind: StoreFailure["kind"], why: string): Outcome {
  return { reply: null, failure: { kind, why } };
}

/** An error of the connection rather than of the server. */
function isConnectionError(error: Error): boolean {
  return error.name !== "ReplyError" && !/^-?[A-Z]{3,} /.test(error.message);
}

/** How many of the calls from `first` on make one pipeline. */
function partLength(group: readonly Pending[], first: number): number {
  let bytes = 0;
  let length = 0;
  while (length < pipelineCalls && first + length < group.length) {
    bytes += group[first + length]?.call.bytes ?? 0;
    if (length > 0 && bytes > pipelineBytes) break;
    length++;
  }
  return length;
}
