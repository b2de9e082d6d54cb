/** 100,000 cases; `npm run test:fuzz -- --cases N --seed S` runs more of them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { testBroker } from "../support/front-end.js";
import { MqttClient } from "../support/mqtt-client.js";
import { portOf } from "../net/listeners/support.js";
import { fuzzConnections } from "./connection.js";
import { fuzzDecoder } from "./decoder.js";
import { fuzzProcess } from "./process.js";
import { fuzzTrie } from "./trie.js";

const cases = Number(process.env.FUZZ_CASES ?? 100_000);
const seed = Number(process.env.FUZZ_SEED ?? 20_260);
/** Nothing of a connection stays; what is not collected yet may, and compiled code. */
const grownMax = globalThis.gc === undefined ? 128_000_000 : 16_000_000;

test(`decoder: ${Math.ceil(cases * 0.7)} cases`, () => fuzzDecoder(Math.ceil(cases * 0.7), seed));

test(`trie: ${Math.ceil(cases * 0.27)} cases`, () => fuzzTrie(Math.ceil(cases * 0.27), seed));

test(`connections: ${Math.ceil(cases * 0.03)} cases`, async (t) => {
  // What the fuzzed clients may leave behind is bounded by limits.
  const limits = { retained_messages: 100, session_expiry: 1000 };
  const listeners = { ws: { enabled: true, port: 0 } };
  const broker = await testBroker(t, { settings: { limits, listeners } });
  const watcher = await MqttClient.connect(t, broker.port, { clientId: "watcher" });
  await watcher.subscribe("proof");
  const webSocketUrl = `ws://127.0.0.1:${portOf(broker, "ws")}/mqtt`;
  const target = { broker, webSocketUrl, watcher };
  const found = await fuzzConnections(target, Math.ceil(cases * 0.03), seed);
  // Told, not judged: how long something takes depends on the machine.
  const blocks = [found.block99Ms, found.longestBlockMs].map((ms) => ms.toFixed(1));
  t.diagnostic(
    `blocks of the loop, the clients' own work too: 99 % ${blocks[0]} ms, longest ${blocks[1]} ms`,
  );
  t.diagnostic(`heap grown by ${(found.grownBytes / 1e6).toFixed(1)} MB`);
  assert.ok(found.grownBytes < grownMax, `${found.grownBytes} bytes`);
});

test(`a node of its own: ${Math.ceil(cases * 0.01)} cases`, async (t) => {
  const found = await fuzzProcess(t, Math.ceil(cases * 0.01), seed);
  const [before, after] = [found.rssBefore, found.rssAfter].map((bytes) => Math.round(bytes / 1e6));
  t.diagnostic(`delay of its loop: 99 % ${found.loopP99Ms} ms, longest ${found.loopMaxMs} ms`);
  const turns = [found.turnMaxMs, found.blockMaxMs].map((ms) => ms.toFixed(1));
  t.diagnostic(
    `longest turn of its loop by processor time: ${turns[0]} ms, ${turns[1]} ms without the collection of garbage`,
  );
  t.diagnostic(`resident memory: ${before} MB after a tenth, ${after} MB at the end`);
  assert.ok(found.rssAfter - found.rssBefore < 128_000_000, `${before} MB, then ${after} MB`);
  // Judged only in the long run, which is asked for: a short one is over before its code is compiled. What the machine
  // gave to others is no block of ours.
  if (process.env.FUZZ_JUDGE !== undefined) assert.ok(found.blockMaxMs < 20, "blocks of 20 ms");
});
