/** The command lines of the generator and of the comparison: defaults and refusals. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { cases } from "../../bench/cases.js";
import { parseCompareOptions } from "../../bench/compare-options.js";
import { parseLoadOptions } from "../../bench/options.js";
import { UsageError } from "../../src/cli/usage.js";

const pub = ["--pub", "127.0.0.1:1883"];

test("each mode has its defaults", () => {
  const shapes = ["throughput", "fanout", "fanin", "latency"].map((mode) => {
    const { publishers, subscribers, topics, ratePerSecond } = parseLoadOptions([mode, ...pub]);
    return [mode, publishers, subscribers, topics, ratePerSecond];
  });
  assert.deepEqual(shapes, [
    ["throughput", 1, 1, 1, 0],
    ["fanout", 1, 100, 1, 0],
    ["fanin", 100, 1, 100, 0],
    ["latency", 1, 1, 1, 1000],
  ]);
});

test("publishers and subscribers may connect to different nodes", () => {
  const both = parseLoadOptions(["throughput", ...pub]);
  assert.deepEqual(both.subscriberAddresses, [{ host: "127.0.0.1", port: 1883 }]);
  const apart = parseLoadOptions(["throughput", ...pub, "--sub", "a:1,[::1]:2"]);
  assert.deepEqual(apart.publisherAddresses, [{ host: "127.0.0.1", port: 1883 }]);
  assert.deepEqual(apart.subscriberAddresses, [
    { host: "a", port: 1 },
    { host: "::1", port: 2 },
  ]);
});

test("a count of messages takes the place of time and warm-up", () => {
  const { messages, warmUpMs } = parseLoadOptions(["fanin", ...pub, "--messages", "10"]);
  assert.deepEqual([messages, warmUpMs], [10, 0]);
});

test("the generator refuses what makes no sense, and says what is allowed", () => {
  const refused: [string[], RegExp][] = [
    [[...pub], /one mode is needed: throughput, fanout/],
    [["flood", ...pub], /one mode is needed/],
    [["fanin", "fanout", ...pub], /one mode is needed/],
    [["fanin"], /--pub HOST:PORT is needed/],
    [["fanin", "--pub", "1883"], /'1883' is not HOST:PORT/],
    [["fanin", "--pub", "a:0"], /whole number from 1 to 65535/],
    [["fanin", "--pub", "a:1,"], /'' is not HOST:PORT/],
    [["throughput", ...pub, "--qos", "3"], /--qos: '3' is not a whole number from 0 to 2/],
    [["throughput", ...pub, "--size", "11"], /--size: .* from 12 to/],
    [["throughput", ...pub, "--window", "x"], /--window/],
    [["throughput", ...pub, "--seconds", "601"], /--seconds: .* to 600/],
    [["throughput", ...pub, "--seconds", "-1"], /--seconds/],
    [["throughput", ...pub, "--subscribers", "3", "--topics", "2"], /multiple of --topics/],
    [["throughput", ...pub, "--topics", "10001", "--subscribers", "10001"], /at most 10000/],
    [["throughput", ...pub, "--rate", "5"], /--rate belongs to the mode latency/],
    [["fanout", ...pub, "--publishers", "2"], /fanout has one publisher/],
    [["fanin", ...pub, "--subscribers", "2"], /fanin has one subscriber/],
    [["fanin", ...pub, "--topics", "2"], /one topic for each publisher/],
    [["fanin", ...pub, "--pid", "1,x"], /--pid: 'x'/],
    [["fanin", ...pub, "--fast"], /--fast/],
  ];
  for (const [args, message] of refused) {
    assert.throws(
      () => parseLoadOptions(args),
      (error) => error instanceof UsageError && message.test(error.message),
      args.join(" "),
    );
  }
});

test("the comparison takes everything by default, and filters keep its order", () => {
  const all = parseCompareOptions([]);
  assert.deepEqual(
    all.brokers.map(({ name }) => name),
    ["trellis", "aedes", "mosquitto"],
  );
  assert.equal(all.cases.length, 9);
  assert.equal(all.runs, 3);
  const some = parseCompareOptions(["--only", "fanin-qos1,1to1-qos0", "--brokers", "aedes"]);
  assert.deepEqual(
    some.cases.map(({ id }) => id),
    ["1to1-qos0", "fanin-qos1"],
  );
  assert.equal(some.brokers.length, 1);
});

test("the generator takes the arguments of every case", () => {
  for (const one of cases) {
    const { qos, sizeBytes } = parseLoadOptions([...one.args, ...pub]);
    assert.equal(one.id.endsWith(`qos${qos}`), true, one.id);
    assert.equal(sizeBytes, 100);
  }
});

test("the comparison refuses what it does not know", () => {
  const refused: [string[], RegExp][] = [
    [["--only", "fanin"], /'fanin' is not one of 1to1-qos0, /],
    [["--brokers", "trellis,other"], /'other' is not one of trellis, aedes, mosquitto/],
    [["--runs", "0"], /--runs: '0' is not a whole number from 1 to 100/],
    [["now"], /now/],
  ];
  for (const [args, message] of refused) {
    assert.throws(
      () => parseCompareOptions(args),
      (error) => error instanceof UsageError && message.test(error.message),
      args.join(" "),
    );
  }
});
