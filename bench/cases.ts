/** What the comparison measures: the generator's arguments for each case. Payloads have 100 bytes unless they say. */

export type Unit =
  | "msg/s"
  | "MB/s"
  | "connects/s"
  | "topics/s"
  | "filters/s"
  | "p99 ms"
  | "bytes per client"
  | "bytes per row";

/** The less, the better. */
export const isCost = (unit: Unit): boolean => unit.startsWith("bytes") || unit === "p99 ms";

export interface Case {
  readonly id: string;
  readonly title: string;
  readonly unit: Unit;
  /** 2: publishers connect to the first node of a cluster, subscribers to the second. */
  readonly nodes: 1 | 2;
  readonly args: readonly string[];
  /** Measured with MQTT 5 as well. */
  readonly both?: true;
  /** Measured at most so many times: its figures hardly differ. */
  readonly runsMax?: number;
  /** What the generator does first, with these arguments, uncounted. */
  readonly lead?: readonly string[];
  /** The warm-up is that long at least: with few messages a second, code takes longer to be compiled. */
  readonly warmUpMinMs?: number;
  /** A second generator that loads the broker meanwhile, with these arguments; its own figures are noted. */
  readonly flood?: readonly string[];
  /** No broker and no clients: the figure of this name in what bench/routes.ts prints. */
  readonly routes?: string;
}

/** 100 subscribers: as many deliveries per subscriber may be outstanding as with few of them. */
const wideBacklog = ["--backlog", "100000"];

/**
 * Neighbours in a publisher's stream go to different subscribers, and those of a subscriber come from
 * different publishers: nothing can be handled in bulk.
 */
const mixed = ["throughput", "--publishers", "10", "--subscribers", "10", "--topics", "10"];
/** 100,000 messages may be outstanding at the end, and some brokers are slow. */
const longDrain = ["--drain", "40"];
const thousand = ["--publishers", "1000", "--subscribers", "1000", "--topics", "1000"];

function messages(
  id: string,
  title: string,
  args: readonly string[],
  more: Partial<Case> = {},
): Case {
  return { id, title, unit: "msg/s", nodes: 1, args, ...more };
}

function routes(id: string, title: string, unit: Unit, figure: string): Case {
  return { id, title, unit, nodes: 1, args: [], routes: figure };
}

/** Two nodes share a core, and each has its own code to compile. */
const nodes = { nodes: 2, warmUpMinMs: 3000 } as const;
const both = { both: true } as const;
const wide = ["--window", "1000"];

export const cases: readonly Case[] = [
  messages("1to1-qos0", "1 → 1, QoS 0", ["throughput", "--qos", "0"], both),
  messages("1to1-qos1", "1 → 1, QoS 1", ["throughput", "--qos", "1"], both),
  messages(
    "1to1-qos1-w1000",
    "1 → 1, QoS 1, 1,000 in flight",
    ["throughput", "--qos", "1", ...wide],
    both,
  ),
  messages("1to1-qos2", "1 → 1, QoS 2", ["throughput", "--qos", "2"], both),
  messages("fanout-qos0", "1 → 100, QoS 0", ["fanout", "--qos", "0", ...wideBacklog], both),
  messages("fanin-qos1", "100 → 1, QoS 1", ["fanin", "--qos", "1"], both),
  messages("mixed-qos0", "10 → 10 mixed, QoS 0", [...mixed, "--qos", "0"]),
  messages("mixed-qos1", "10 → 10 mixed, QoS 1", [...mixed, "--qos", "1"]),
  messages(
    "thousand-qos1",
    "1,000 → 1,000, QoS 1",
    ["throughput", ...thousand, "--own-topic", "--qos", "1", ...wideBacklog, ...longDrain],
    both,
  ),
  messages(
    "rate-qos1",
    "10 → 10, QoS 1, 2,000 msg/s",
    ["latency", "--rate", "2000", "--qos", "1", ...mixed.slice(1)],
    { warmUpMinMs: 5000 },
  ),
  messages(
    "large-qos1",
    "1 → 1, QoS 1, 16 KiB",
    ["throughput", "--qos", "1", "--size", "16384", "--backlog", "1000"],
    { unit: "MB/s" },
  ),
  messages("nodes-qos0", "node A → node B, QoS 0", ["throughput", "--qos", "0"], nodes),
  messages("nodes-qos1", "node A → node B, QoS 1", ["throughput", "--qos", "1"], nodes),
  messages(
    "nodes-qos1-w1000",
    "node A → node B, QoS 1, 1,000 in flight",
    ["throughput", "--qos", "1", ...wide],
    nodes,
  ),
  messages(
    "fair-qos1",
    "1,000 → 1,000, QoS 1, 1,000 msg/s, while one floods",
    // Sleeps between what is due: the flood has to share its core.
    ["latency", ...thousand, "--own-topic", "--qos", "1", "--rate", "1000", "--tick", "1"],
    { unit: "p99 ms", flood: ["throughput", "--qos", "0", "--prefix", "flood"] },
  ),
  messages("connect", "connects, 10,000 clients", ["connect", "--clients", "10000"], {
    unit: "connects/s",
    lead: ["connect", "--clients", "5000"],
  }),
  messages(
    "idle",
    "memory of an idle subscriber, 15,000 of them",
    ["connect", "--clients", "15000", "--subscribe", "1", "--hold", "2"],
    { unit: "bytes per client", runsMax: 3 },
  ),
  routes(
    "routes-match",
    "match, 1,000,000 filters held, topics not seen before",
    "topics/s",
    "topics matched, not seen before, /CPU s",
  ),
  routes("routes-subscribe", "subscribe, 1,000,000 filters held", "filters/s", "subscribe, /CPU s"),
  routes(
    "routes-unsubscribe",
    "unsubscribe, 1,000,000 filters held",
    "filters/s",
    "unsubscribe, /CPU s",
  ),
  routes(
    "routes-exact",
    "memory of a peer's row, exact filter",
    "bytes per row",
    "peer row, exact filters: bytes",
  ),
  routes(
    "routes-wildcard",
    "memory of a peer's row, wildcards",
    "bytes per row",
    "peer row, wildcards: bytes",
  ),
];

/** The case as it is with MQTT 5. */
export function withMqtt5(one: Case): Case {
  return {
    ...one,
    id: `${one.id}-v5`,
    title: `${one.title}, MQTT 5`,
    args: [...one.args, "--v5"],
  };
}

/** The case with few clients or filters: for trying out. */
export function quick(one: Case): Case {
  if (one.routes !== undefined) {
    return { ...one, title: one.title.replace("1,000,000", "20,000"), args: ["--count", "20000"] };
  }
  const at = one.args.indexOf("--clients");
  if (at < 0) return one;
  return {
    ...one,
    title: one.title.replace(/1[05],000/, "1,000"),
    args: one.args.with(at + 1, "1000"),
  };
}
