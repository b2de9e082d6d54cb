/**
 * What a subscriber that stops reading costs while many bytes pass it: memory, what is dropped, and what the
 * others get. Broker and clients are one process. `node --import tsx bench/slow-consumer.ts [MiB]`
 */
import { startBroker } from "../test/support/front-end.js";
import { passBy } from "../test/limits/slow-consumer.js";

const mebibytes = Number(process.argv[2] ?? 1024);
console.log(
  "| QoS | MiB | s | published | to the slow one | dropped | to each other one | waited at most, MiB | RSS grown by, MiB |",
);
console.log("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
for (const qos of [0, 1] as const) {
  const broker = await startBroker({
    settings: { limits: { connection_output_grace: 3_600_000 } },
  });
  const startedMs = performance.now();
  const passing = await passBy(broker, qos, mebibytes * 2 ** 20);
  const seconds = (performance.now() - startedMs) / 1000;
  const { droppedOutputFull, droppedQueueFull } = broker.frontEnd.sessions.counters;
  const dropped = droppedOutputFull + droppedQueueFull;
  const toOthers = Math.min(...passing.quick);
  const mib = (bytes: number): string => (bytes / 2 ** 20).toFixed(1);
  console.log(
    `| ${qos} | ${mebibytes} | ${seconds.toFixed(1)} | ${passing.published} | ${passing.slow} | ${dropped} | ${toOthers} | ${mib(passing.waitingMax)} | ${mib(passing.rssGrowth)} |`,
  );
  await broker.stop();
}
