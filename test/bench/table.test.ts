/** The comparison's table and chart: medians, ratios, the worst loss; and what is written where. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { cases } from "../../bench/cases.js";
import { chart } from "../../bench/chart.js";
import { withFigures, writeDocuments } from "../../bench/documents.js";
import { type Figures, figuresOfMqttload, mqttloadArguments } from "../../bench/figures.js";
import { type Measured, notes, shares, table } from "../../bench/table.js";

function figures(value: number, perCpuSecond: number | null, lost: number | null = 0): Figures {
  const others = perCpuSecond === null ? null : 3;
  const rest = { duplicates: lost === null ? null : 0, othersCpuPercent: others, odd: "" };
  return { value, perCpuSecond, lost, p99Ms: 2.345, loadCpuPercent: 50, ...rest };
}

function measured(broker: string, results: Figures[], id = "1to1-qos0"): Measured {
  const one = cases.find((known) => known.id === id);
  assert.ok(one !== undefined);
  return { case: one, broker, results, errors: [] };
}

test("a line has the medians, least and most of a broker's runs, its worst loss, and ratios", () => {
  const text = table([
    measured("ours", [figures(3000, 9000), figures(1000, 4000), figures(2000, 5000)]),
    measured("peer", [figures(900, 1000, 7), figures(1000, 2000), figures(1100, 3000, 1)]),
  ]);
  const name = "| 1 → 1, QoS 0";
  assert.deepEqual(text.split("\n").slice(2), [
    `${name} | ours | msg/s | 2,000 | 1,000 – 3,000 |  | 5,000 | 4,000 – 9,000 |  | 2.35 | 0 | 0 | 50 % | 3 % |`,
    `${name} | peer | msg/s | 1,000 | 900 – 1,100 | 2.0 | 2,000 | 1,000 – 3,000 | 2.5 | 2.35 | 7 | 0 | 50 % | 3 % |`,
  ]);
});

test("of memory less is more, and a broker whose runs all failed has a line that says so", () => {
  const text = table([
    measured("ours", [figures(5000, null, null)], "idle"),
    measured("peer", [figures(20_000, null, null)], "idle"),
    measured("ours", []),
    measured("peer", [figures(1000, null)]),
  ]);
  const [ours = "", peer = "", failed = "", alone = ""] = text.split("\n").slice(2);
  assert.match(
    ours,
    /\| bytes per client \| 5,000 \| {2}\| {2}\| – \| {2}\| {2}\| 2\.35 \| – \| – \|/,
  );
  assert.match(peer, /\| 20,000 \| {2}\| 4\.0 \|/);
  assert.match(failed, /\| ours \| msg\/s \| failed \|/);
  assert.match(alone, /\| peer \| msg\/s \| 1,000 \| {2}\| {2}\| – \|/);
  const widths = text.split("\n").map((line) => line.split("|").length);
  assert.equal(new Set(widths).size, 1, text);
});

test("two nodes are shown as a share of one, and connects of what Node can do", () => {
  const all = [
    measured("ours", [figures(1000, 4000)]),
    measured("ours", [figures(1000, 1000)], "nodes-qos0"),
    measured("ours", [figures(600, 1)], "connect"),
    measured("accept loop", [figures(800, 1)], "connect"),
  ];
  assert.deepEqual(shares(all), [
    "node A → node B, QoS 0: 0.25 of what a single node does per CPU second",
    "connects: 0.75 of what a bare Node accept loop does",
  ]);
  assert.deepEqual(shares(all.slice(0, 1)), []);
  assert.deepEqual(shares([]), []);
});

test("failures, and counts that ought to be 0, are noted", () => {
  const odd = { ...figures(1000, null), odd: "1,234 out of order, 1 unanswered" };
  const failed = { ...measured("ours", [figures(1000, null)]), errors: ["it ended at start"] };
  assert.deepEqual(notes([failed, measured("peer", [odd])]), [
    "1 → 1, QoS 0, ours: it ended at start",
    "1 → 1, QoS 0, peer: 1,234 out of order, 1 unanswered",
  ]);
});

test("the figures go between the marks of the page, again and again", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "trellis-docs-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const svg = chart(
    [
      measured("ours", [figures(1, 2_000_000)]),
      measured("peer <1>", [figures(1, 90_000)]),
      measured("ours", [figures(5000, null, null)], "idle"),
    ],
    "a & b",
  );
  writeDocuments(folder, "first", svg);
  const page = readFileSync(join(folder, "performance.md"), "utf8");
  assert.match(page, /^# Performance\n\n<!-- bench: .*\n\nfirst\n\n<!-- bench: end -->\n$/);
  const around = `before\n${page.slice(page.indexOf("<!--"))}after\n`;
  const again = withFigures(around, "second");
  assert.match(again, /^before\n<!-- .*\n\nsecond\n\n<!-- bench: end -->\nafter\n$/);
  assert.equal(withFigures(again, "second"), again);
  const picture = readFileSync(join(folder, "performance.svg"), "utf8");
  assert.match(picture, /^<svg [\s\S]*prefers-color-scheme: dark[\s\S]*<\/svg>\n$/);
  assert.match(picture, />2 M</);
  assert.match(picture, />90 k</);
  assert.match(picture, /peer &lt;1&gt;[\s\S]*a &amp; b/);
  assert.equal(picture.includes("idle subscriber"), false);
});

test("what mqttload prints is read, and it is asked in its own words", () => {
  const args = ["throughput", "--qos", "1", "--window", "1000", "--seconds", "2", "--warm-up", "1"];
  assert.deepEqual(mqttloadArguments(args), [
    ...["throughput", "--qos", "1", "--inflight", "1000", "--duration", "2", "--warmup", "1"],
    ...["--max-backlog", "10000", "--gen-cpu"],
  ]);
  assert.equal(mqttloadArguments(["connect", "--subscribe", "1"]), null);
  const line = JSON.stringify({
    ...{ received_per_s: 1000, size: 16_384, lost: 0, duplicates: 2, out_of_order: 1 },
    ...{ foreign: 0, nacked: 0, unacked: 3, latency_us: { p99: 1500 } },
    cpu: { per_broker_cpu_s: 4000, gen_busiest_thread_pct: 12 },
  });
  const large = cases.find(({ id }) => id === "large-qos1");
  const connect = cases.find(({ id }) => id === "connect");
  assert.ok(large !== undefined && connect !== undefined);
  const figuresRead = figuresOfMqttload(large, line);
  assert.equal(figuresRead.value, 16.384);
  assert.deepEqual(
    [figuresRead.perCpuSecond, figuresRead.p99Ms, figuresRead.duplicates, figuresRead.odd],
    [4000, 1.5, 2, "1 out of order, 3 unanswered"],
  );
  const connects = { connects_per_s: 9, per_broker_cpu_s: null, gen_busiest_thread_pct: 1 };
  const answer = JSON.stringify({ ...connects, handshake_us: { p99: 10 } });
  assert.equal(figuresOfMqttload(connect, answer).value, 9);
  assert.throws(() => figuresOfMqttload(large, "{}"), /mqttload/);
});
