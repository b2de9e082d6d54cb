/**
 * The same random 3.1.1 scenario against Trellis and aedes, in one process, must give the same
 * deliveries. What aedes 1.2 does otherwise is left out of the comparison, each with the clause that
 * decides it:
 *
 * - The QoS of a delivery: aedes sends a message at the QoS of its publish where the subscription's is
 *   lower (also a retained one), and of overlapping subscriptions not always the highest
 *   [MQTT-3.8.4-6, MQTT-3.3.5-1]. So the QoS is not compared.
 * - Retained messages of QoS 1 and 2 for a session with clean session 0: aedes sends nothing and closes
 *   the connection [MQTT-3.3.1-6]. So retained messages are published with QoS 0.
 */
import assert from "node:assert/strict";
import { createServer } from "node:net";
import { type TestContext, test } from "node:test";
import { Aedes } from "aedes";
import { testBroker } from "../support/front-end.js";
import { Player } from "./player.js";
import { scenario, type Step } from "./scenario.js";

const stepsEach = 60;
const seeds = 30;
const settleMs = 2_000;

async function aedes(t: TestContext): Promise<number> {
  const broker = await Aedes.createBroker();
  const server = createServer(broker.handle);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(async () => {
    await new Promise((resolve) => broker.close(() => resolve(undefined)));
    server.close();
  });
  const address = server.address();
  assert(address !== null && typeof address === "object");
  return address.port;
}

/** Waits until both have delivered the same; returns the difference that stays. */
async function difference(trellis: Player, other: Player): Promise<string | null> {
  const endMs = performance.now() + settleMs;
  for (;;) {
    if (trellis.summary() === other.summary()) return null;
    if (performance.now() > endMs) {
      return `${trellis.name}\n${trellis.summary()}\n${other.name}\n${other.summary()}`;
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
}

async function compare(t: TestContext, seed: number): Promise<void> {
  const trellis = new Player("trellis", (await testBroker(t)).port);
  const other = new Player("aedes", await aedes(t));
  const played: Step[] = [];
  await Promise.all([trellis.start(), other.start()]);
  try {
    for (const step of scenario(seed, stepsEach)) {
      played.push(step);
      await Promise.all([trellis.play(step), other.play(step)]);
      const differs = await difference(trellis, other);
      assert(
        differs === null,
        `seed ${seed}, step ${played.length} ${JSON.stringify(step)}:\n${differs}\nafter\n` +
          played.map((one) => JSON.stringify(one)).join("\n"),
      );
    }
  } finally {
    await Promise.all([trellis.stop(), other.stop()]);
  }
}

for (let seed = 1; seed <= seeds; seed++) {
  test(`seed ${seed}: the same deliveries as aedes`, (t) => compare(t, seed));
}
