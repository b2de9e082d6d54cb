/** The command lines of the generator and of the comparison: defaults and refusals. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { brokers } from "../../bench/brokers.js";
import { cases, withMqtt5 } from "../../bench/cases.js";
import { parseCompareOptions } from "../../bench/compare-options.js";
import { parseConnectOptions, parseLoadOptions } from "../../bench/options.js";
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
    [["latency", ...pub, "--tick", "1001"], /--tick: .* from 0 to 1000/],
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
    ["trellis", "aedes", "mosquitto", "accept loop"],
  );
  const both = cases.filter((one) => one.both === true);
  assert.equal(all.cases.length, cases.length + both.length);
  assert.deepEqual([all.runs, all.docs, all.repeats, all.mqttload], [5, "docs", true, null]);
  const some = parseCompareOptions([
    ...["--only", "fanin-qos1,1to1-qos0", "--brokers", "aedes,workers-2", "--mqtt", "5"],
  ]);
  assert.deepEqual(
    some.cases.map(({ id, title }) => [id, title]),
    [
      ["1to1-qos0-v5", "1 → 1, QoS 0, MQTT 5"],
      ["fanin-qos1-v5", "100 → 1, QoS 1, MQTT 5"],
    ],
  );
  assert.equal(some.brokers.length, 2);
});

test("a quick comparison writes nothing unless it is told where", () => {
  const { runs, docs, cases: picked, repeats } = parseCompareOptions(["--quick"]);
  assert.deepEqual([runs, docs, repeats, picked.length], [1, null, false, cases.length]);
  assert.equal(parseCompareOptions(["--quick", "--docs", "d"]).docs, "d");
  assert.equal(parseCompareOptions(["--json"]).docs, null);
  const connect = picked.find(({ id }) => id === "connect");
  assert.deepEqual(
    [connect?.title, connect?.args],
    ["connects, 1,000 clients", ["connect", "--clients", "1000"]],
  );
});

test("the generator takes the arguments of every case, and brokers only what they can", () => {
  for (const one of [...cases, ...cases.map(withMqtt5)]) {
    if (one.flood !== undefined) assert.equal(parseLoadOptions([...one.flood, ...pub]).qos, 0);
    if (one.routes !== undefined) continue;
    if (one.args[0] === "connect") {
      assert.ok(parseConnectOptions([...one.args.slice(1), ...pub]).clients >= 10_000);
      continue;
    }
    const { qos, sizeBytes, version } = parseLoadOptions([...one.args, ...pub]);
    assert.match(one.id, new RegExp(`qos${qos}(-w1000)?(-v5)?$`));
    assert.equal(sizeBytes, one.id.startsWith("large") ? 16_384 : 100);
    assert.equal(version, one.id.endsWith("-v5") ? 5 : 4);
    const aedes = brokers.find(({ name }) => name === "aedes");
    const isOthers = version === 4 && one.nodes === 1 && one.flood === undefined;
    assert.equal(aedes?.can(one), isOthers);
  }
  const one = parseConnectOptions([...pub, "--clients", "5", "--subscribe", "1", "--hold", "2"]);
  assert.deepEqual([one.clients, one.subscribe, one.holdMs], [5, 1, 2000]);
  assert.throws(() => parseConnectOptions(["--clients", "0"]), UsageError);
});

test("the comparison refuses what it does not know", () => {
  const refused: [string[], RegExp][] = [
    [["--only", "fanin"], /'fanin' is not one of 1to1-qos0, /],
    [["--brokers", "trellis,other"], /'other' is not one of trellis, aedes, mosquitto/],
    [["--mqtt", "3"], /--mqtt must be 4, 5 or 4,5/],
    [["--minutes", "0"], /--minutes: '0' is not a whole number from 1/],
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
