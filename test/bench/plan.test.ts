/** In which order a comparison measures, what it takes over from one that was cut off, and how long is left. */
import assert from "node:assert/strict";
import { appendFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { Figures } from "../../bench/figures.js";
import { parseCompareOptions } from "../../bench/compare-options.js";
import { Forecast, stepsOf, timesOf, topicOf } from "../../bench/plan.js";
import { ResultsFile } from "../../bench/results-file.js";

const figures: Figures = {
  ...{ value: 1, perCpuSecond: 2, p99Ms: 3, lost: 0, duplicates: 0 },
  ...{ loadCpuPercent: 50, othersCpuPercent: 0, odd: "" },
};

test("brokers take turns within a case, routes are measured together, and steady cases less often", () => {
  const names = ["--brokers", "trellis,mosquitto,accept loop", "--mqtt", "4", "--runs", "4"];
  const options = parseCompareOptions([
    ...["--only", "fanin-qos1,connect,idle,routes-match,routes-exact"],
    ...names,
  ]);
  const steps = stepsOf(options, options.brokers);
  const run = (number: number) => steps.filter((step) => step.run === number).map(topicOf);
  const one = ["fanin-qos1, trellis", "fanin-qos1, mosquitto"];
  one.push("connect, trellis", "connect, mosquitto", "connect, accept loop");
  assert.deepEqual(run(1), [...one, "idle, trellis", "idle, mosquitto", "routes, trellis"]);
  assert.deepEqual(run(4), [...one, "routes, trellis"]);
  assert.deepEqual(
    steps.at(-1)?.cases.map(({ id }) => id),
    ["routes-match", "routes-exact"],
  );
});

test("peers are measured for half the time", () => {
  const options = parseCompareOptions(["--seconds", "2", "--warm-up", "1"]);
  const times = options.brokers.map((broker) => [broker.name, timesOf(broker, options).durationMs]);
  assert.deepEqual(times, [
    ["trellis", 2000],
    ["aedes", 1000],
    ["mosquitto", 1000],
    ["accept loop", 2000],
  ]);
});

test("what is left is as long as the same took before", () => {
  const options = parseCompareOptions([
    "--only",
    "fanin-qos1",
    "--brokers",
    "trellis",
    "--runs",
    "3",
  ]);
  const [first, ...rest] = stepsOf(options, options.brokers).filter(
    ({ cases }) => cases[0]?.id === "fanin-qos1",
  );
  assert.ok(first !== undefined);
  const forecast = new Forecast(options);
  const guessed = forecast.leftMs([first]);
  assert.ok(guessed >= options.durationMs + options.warmUpMs);
  forecast.took(first, 60_000);
  assert.equal(forecast.leftMs(rest), 120_000);
});

test("results are on disk as they come, and what was cut off is continued", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "trellis-results-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, "r.jsonl");
  const settings = { runs: 2 };
  assert.throws(() => ResultsFile.open(file, settings, true), /nothing to continue: .*r\.jsonl/);
  const result = { run: 1, case: "1to1-qos0", broker: "trellis", figures };
  const begun = ResultsFile.open(file, settings, false);
  begun.add(result);
  // The process ended while it wrote.
  appendFileSync(file, '{"run":1,"case":"1to1-q');
  const continued = ResultsFile.open(file, settings, true);
  assert.deepEqual(continued.before, [result]);
  continued.add({ ...result, run: 2 });
  assert.deepEqual(
    ResultsFile.open(file, settings, true).before.map(({ run }) => run),
    [1, 2],
  );
  assert.throws(
    () => ResultsFile.open(file, { runs: 3 }, true),
    /measured with other options.*begin anew without --continue/,
  );
  assert.equal(ResultsFile.open(file, settings, false).before.length, 0);
  assert.equal(readFileSync(file, "utf8"), `${JSON.stringify({ settings })}\n`);
});

test("a comparison is continued only when it is told to", () => {
  const [usual, again, quick, all] = [
    [],
    ["--continue"],
    ["--quick"],
    ["--quick", "--continue"],
  ].map((args) => parseCompareOptions(args));
  assert.deepEqual([usual?.results, usual?.isContinued], ["bench-results.jsonl", false]);
  assert.deepEqual([again?.results, again?.isContinued], ["bench-results.jsonl", true]);
  assert.equal(quick?.results, null);
  assert.equal(parseCompareOptions(["--results", "none"]).results, null);
  assert.deepEqual([all?.results, all?.isContinued], ["bench-results.jsonl", true]);
});
