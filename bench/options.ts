/** The load generator's command line: every option with its default and limits, and its refusals. */
import { parseArgs } from "node:util";
import type { Address } from "../src/cli/bench/connection.js";
import type { ConnectOptions } from "../src/cli/bench/connects.js";
import { type LoadOptions, type Mode, modes } from "../src/cli/bench/load-options.js";
import { publishersMax, stampBytes } from "../src/cli/bench/wire.js";
import { UsageError } from "../src/cli/usage.js";

export const usage = `usage: tsx bench/load.ts MODE --pub HOST:PORT [options]     (prints one line of JSON)
modes
  throughput  P publishers, S subscribers, T topics (1, 1, 1); publishers take the topics in turn
  fanout      1 publisher, S subscribers (100) of one topic
  fanin       P publishers (100), each with a topic of its own, 1 subscriber of all
  latency     throughput at a fixed rate, with exact pacing (the generator keeps its core busy)
  connect     --clients N (1000) connect, --concurrency C (64) at once, each subscribes with --subscribe QOS if
              that is given, all stay for --hold SECONDS (0); takes --pub, --v5, --pid and --timeout, too
options
  --pub HOST:PORT[,...]  --sub HOST:PORT[,...]   where publishers and subscribers connect (sub: as pub)
  --publishers P  --subscribers S  --topics T  --own-topic (publisher i stays on topic i)
  --qos 0|1|2 (0)  --size BYTES (100)  --v5
  --window N (100)        QoS 1 and 2: messages in flight per publisher
  --backlog N (10000)     hold publishers while N deliveries are outstanding; missing ones are written
                          off when nothing has arrived for 0.5 s
  --rate N (1000)         latency: messages a second over all publishers
  --tick MS (0)           latency: send what is due each so many ms and sleep between; 0: never sleep
  --persistent            the subscribers' sessions outlive their connections, and are ended after the run
  --prefix TEXT (bench)   what topics begin with
  --announce              write "connected" to standard error when all are and the warm-up begins
  --seconds N (5)  --warm-up N (1)  --drain N (10)  --timeout N (20, for each step of the set-up)
  --messages N            per publisher; ends the run instead of --seconds, and without warm-up
  --pid PID[,PID]         the broker's processes: CPU seconds, messages per CPU second, memory
`;

/** Reads the arguments after the program's name; throws `UsageError` for any that make no sense. */
export function parseLoadOptions(args: readonly string[]): LoadOptions {
  const { values, positionals } = parse(args);
  const mode = positionals[0] ?? "";
  if (positionals.length !== 1 || !isMode(mode)) {
    throw new UsageError(`one mode is needed: ${modes.join(", ")}`);
  }
  const publisherAddresses = addresses("pub", values.pub);
  const publishers = whole("publishers", values.publishers ?? (mode === "fanin" ? "100" : "1"), 1);
  const subscribers = whole(
    "subscribers",
    values.subscribers ?? (mode === "fanout" ? "100" : "1"),
    1,
  );
  const topics = whole("topics", values.topics ?? (mode === "fanin" ? `${publishers}` : "1"), 1);
  checkShape(mode, publishers, subscribers, topics);
  const qos = whole("qos", values.qos, 0, 2);
  if (mode !== "latency" && values.rate !== undefined) {
    throw new UsageError("--rate belongs to the mode latency");
  }
  const messages = values.messages === undefined ? 0 : whole("messages", values.messages, 1);
  return {
    mode,
    publisherAddresses,
    subscriberAddresses:
      values.sub === undefined ? publisherAddresses : addresses("sub", values.sub),
    publishers,
    subscribers,
    topics,
    qos: qos === 0 ? 0 : qos === 1 ? 1 : 2,
    sizeBytes: whole("size", values.size, stampBytes, 1_048_576),
    version: values.v5 ? 5 : 4,
    login: null,
    ownTopic: values["own-topic"],
    tls: null,
    persistent: values.persistent,
    window: whole("window", values.window, 1, 65_535),
    backlog: whole("backlog", values.backlog, 1),
    ratePerSecond: mode === "latency" ? whole("rate", values.rate ?? "1000", 1, 1_000_000) : 0,
    tickMs: whole("tick", values.tick, 0, 1000),
    prefix: values.prefix,
    messages,
    durationMs: seconds("seconds", values.seconds, 0.1),
    warmUpMs: messages > 0 ? 0 : seconds("warm-up", values["warm-up"], 0),
    drainMs: seconds("drain", values.drain, 0),
    timeoutMs: seconds("timeout", values.timeout, 1),
    pids: pidsOf(values.pid),
  };
}

/** Reads the arguments of the mode connect; throws `UsageError`. What other modes take besides has no effect. */
export function parseConnectOptions(args: readonly string[]): ConnectOptions {
  const values = parseConnect(args);
  const [address] = addresses("pub", values.pub);
  if (address === undefined) throw new UsageError("--pub HOST:PORT is needed");
  const qos = values.subscribe === undefined ? null : whole("subscribe", values.subscribe, 0, 2);
  return {
    ...{ address, login: null, tls: null, version: values.v5 ? 5 : 4 },
    clients: whole("clients", values.clients, 1, 1_000_000),
    concurrency: whole("concurrency", values.concurrency, 1, 10_000),
    subscribe: qos === null ? null : qos === 0 ? 0 : qos === 1 ? 1 : 2,
    holdMs: seconds("hold", values.hold, 0),
    timeoutMs: seconds("timeout", values.timeout, 1),
    pids: pidsOf(values.pid),
  };
}

function parseConnect(args: readonly string[]) {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        ...{ pub: { type: "string" }, sub: { type: "string" }, pid: { type: "string" } },
        ...{ seconds: { type: "string" }, "warm-up": { type: "string" } },
        clients: { type: "string", default: "1000" },
        concurrency: { type: "string", default: "64" },
        subscribe: { type: "string" },
        hold: { type: "string", default: "0" },
        timeout: { type: "string", default: "60" },
        v5: { type: "boolean", default: false },
      },
    });
    return values;
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

function pidsOf(list: string | undefined): number[] {
  return list === undefined ? [] : list.split(",").map((pid) => whole("pid", pid, 1));
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        pub: { type: "string" },
        sub: { type: "string" },
        publishers: { type: "string" },
        subscribers: { type: "string" },
        topics: { type: "string" },
        "own-topic": { type: "boolean", default: false },
        qos: { type: "string", default: "0" },
        size: { type: "string", default: "100" },
        v5: { type: "boolean", default: false },
        window: { type: "string", default: "100" },
        backlog: { type: "string", default: "10000" },
        rate: { type: "string" },
        tick: { type: "string", default: "0" },
        prefix: { type: "string", default: "bench" },
        persistent: { type: "boolean", default: false },
        announce: { type: "boolean", default: false },
        messages: { type: "string" },
        seconds: { type: "string", default: "5" },
        "warm-up": { type: "string", default: "1" },
        drain: { type: "string", default: "10" },
        timeout: { type: "string", default: "20" },
        pid: { type: "string" },
      },
    });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

function isMode(word: string): word is Mode {
  return modes.some((mode) => mode === word);
}

function checkShape(mode: Mode, publishers: number, subscribers: number, topics: number): void {
  if (publishers > publishersMax) throw new UsageError(`--publishers: at most ${publishersMax}`);
  if (topics > 10_000) throw new UsageError("--topics: at most 10000");
  if (mode === "fanout" && (publishers > 1 || topics > 1)) {
    throw new UsageError("fanout has one publisher and one topic");
  }
  if (mode === "fanin") {
    if (subscribers > 1) throw new UsageError("fanin has one subscriber");
    if (topics !== publishers) throw new UsageError("fanin has one topic for each publisher");
  } else if (subscribers % topics !== 0) {
    throw new UsageError("--subscribers must be a multiple of --topics");
  }
}

function addresses(name: string, list: string | undefined): Address[] {
  if (list === undefined) throw new UsageError(`--${name} HOST:PORT is needed`);
  return list.split(",").map((item) => {
    const colon = item.lastIndexOf(":");
    if (colon < 1) throw new UsageError(`--${name}: '${item}' is not HOST:PORT`);
    const host = item.slice(0, colon).replace(/^\[(.+)\]$/, "$1");
    return { host, port: whole(name, item.slice(colon + 1), 1, 65_535) };
  });
}

/** A whole number from `least` to `most`. */
export function whole(name: string, word: string, least: number, most = 1_000_000_000): number {
  const value = Number(word);
  if (!/^\d+$/.test(word) || value < least || value > most) {
    throw new UsageError(`--${name}: '${word}' is not a whole number from ${least} to ${most}`);
  }
  return value;
}

/** A number of seconds of at most ten minutes, in milliseconds. */
export function seconds(name: string, word: string, least: number): number {
  const value = Number(word);
  if (!/^\d+(\.\d+)?$/.test(word) || value < least || value > 600) {
    throw new UsageError(`--${name}: '${word}' is not a number of seconds from ${least} to 600`);
  }
  return value * 1000;
}
