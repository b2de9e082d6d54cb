/** What the comparison measures: the generator's arguments for each case. Payloads have 100 bytes. */

export interface Case {
  readonly id: string;
  readonly title: string;
  /** 2: publishers connect to the first node of a cluster, subscribers to the second. */
  readonly nodes: 1 | 2;
  readonly args: readonly string[];
}

/** 100 subscribers: as many deliveries per subscriber may be outstanding as with few of them. */
const wideBacklog = ["--backlog", "100000"];

/**
 * Neighbours in a publisher's stream go to different subscribers, and those of a subscriber come from
 * different publishers: nothing can be handled in bulk.
 */
const mixed = ["throughput", "--publishers", "10", "--subscribers", "10", "--topics", "10"];

export const cases: readonly Case[] = [
  { id: "1to1-qos0", title: "1 → 1, QoS 0", nodes: 1, args: ["throughput", "--qos", "0"] },
  { id: "1to1-qos1", title: "1 → 1, QoS 1", nodes: 1, args: ["throughput", "--qos", "1"] },
  { id: "1to1-qos2", title: "1 → 1, QoS 2", nodes: 1, args: ["throughput", "--qos", "2"] },
  {
    id: "fanout-qos0",
    title: "1 → 100, QoS 0",
    nodes: 1,
    args: ["fanout", "--qos", "0", ...wideBacklog],
  },
  { id: "fanin-qos1", title: "100 → 1, QoS 1", nodes: 1, args: ["fanin", "--qos", "1"] },
  { id: "mixed-qos0", title: "10 → 10 mixed, QoS 0", nodes: 1, args: [...mixed, "--qos", "0"] },
  { id: "mixed-qos1", title: "10 → 10 mixed, QoS 1", nodes: 1, args: [...mixed, "--qos", "1"] },
  {
    id: "nodes-qos0",
    title: "node A → node B, QoS 0",
    nodes: 2,
    args: ["throughput", "--qos", "0"],
  },
  {
    id: "nodes-qos1",
    title: "node A → node B, QoS 1",
    nodes: 2,
    args: ["throughput", "--qos", "1"],
  },
];
