/**
 * How many QoS 1 messages a second the store in Redis takes: 1,000 messages of 100 bytes are under way, spread over some
 * sessions; each session's share of a commit is one log record, as the broker writes it. Low-water marks move behind, so that
 * the partitions stay small. `npx tsx bench/redis-store.ts ADDRESS[,ADDRESS...] [seconds]
 * [sessions,...]`; several addresses: a Cluster.
 */
import { configSchema } from "../src/config/schema.js";
import { Backoff } from "../src/lib/backoff.js";
import { realClock } from "../src/lib/clock.js";
import { silentLog } from "../src/lib/log.js";
import { realRandom } from "../src/lib/random.js";
import { Commits } from "../src/store/commits.js";
import type { Journaled } from "../src/store/journaled.js";
import { numberKey } from "../src/store/keys.js";
import { recordHead, sealRecord } from "../src/store/record.js";
import { openRedisStore } from "../src/store/redis/open.js";
import type { RedisStore } from "../src/store/redis/redis-store.js";
import type { Operation } from "../src/store/store.js";

const underWay = 1000;
/** Payload, topic and what is noted of a message. */
const messageBytes = 130;
const keptRecords = 50;

const [addressText = "127.0.0.1:6379", secondsText = "5", sessionsText = "1,10,100,1000"] =
  process.argv.slice(2);
const addresses = addressText.split(",");
const runMs = Number(secondsText) * 1000;

/** A session that always has its share of messages to store. */
class BusySession implements Journaled {
  readonly partition: string;
  readonly fence = 1;
  touched = false;
  stored = 0;
  private records = 0;
  private readonly record: Buffer;

  constructor(
    index: number,
    private readonly share: number,
    private readonly commits: Commits,
    private readonly isOver: () => boolean,
  ) {
    this.partition = `session/bench-${index}`;
    this.record = Buffer.alloc(recordHead + share * messageBytes, "m");
  }

  collect(into: Operation[]): void {
    const number = this.records++;
    // A record is encoded anew each time; the copy stands for that.
    const value = sealRecord(1, Buffer.from(this.record));
    into.push({ kind: "put", key: `log/${numberKey(number)}`, value });
    if (number % keptRecords === 0 && number > 0) {
      const to = `log/${numberKey(number - keptRecords)}`;
      into.push({ kind: "deleteRange", from: "log/", to });
    }
  }

  committed(): void {
    this.stored += this.share;
    if (!this.isOver()) this.commits.touch(this);
  }

  fenced(): void {
    throw new Error("nobody else writes here");
  }
}

async function run(store: RedisStore, sessionCount: number): Promise<string> {
  const commits = new Commits({
    ...{ store, clock: realClock, intervalMs: 0, slowMs: 10_000 },
    backoff: new Backoff(realRandom, 50, 1000),
    onStalled: (failure) => {
      if (failure !== null) console.error(failure.why);
    },
    onBroken: ({ why }) => {
      throw new Error(why);
    },
  });
  const startMs = performance.now();
  const isOver = (): boolean => performance.now() - startMs > runMs;
  const sessions = Array.from({ length: sessionCount }, (_, index) => {
    return new BusySession(index, underWay / sessionCount, commits, isOver);
  });
  const cpu = process.cpuUsage();
  for (const session of sessions) commits.touch(session);
  while (!isOver()) await commits.idle();
  await commits.idle();
  const seconds = (performance.now() - startMs) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  const messages = sessions.reduce((sum, { stored }) => sum + stored, 0);
  const rate = Math.round(messages / seconds);
  const perCpu = Math.round(messages / ((user + system) / 1e6));
  const { commits: count } = commits.counters;
  commits.close();
  return `| ${sessionCount} | ${rate} | ${Math.round(count / seconds)} | ${perCpu} |`;
}

const mode = addresses.length > 1 ? "cluster" : "standalone";
const { redis: settings } = configSchema.parse({ store: { redis: { mode, addresses } } }).store;
const { store } = await openRedisStore({
  ...{ settings, durability: "process", nodeName: "bench@host", clock: realClock, log: silentLog },
});
console.log("| sessions | messages/s | commits/s | messages per CPU second of the node |");
console.log("|---:|---:|---:|---:|");
for (const sessions of sessionsText.split(",")) console.log(await run(store, Number(sessions)));
await store.close();
