/**
 * Random histories of durable sessions (sessions/story.ts): whatever happens to nodes, stores and connections, what was
 * acknowledged is delivered, once where that was asked for, and in order (sessions/checks.ts).
 */
import { test } from "node:test";
import { range, tell } from "./told.js";

test("sessions keep their promises in the histories 1 to 50", async () => {
  await tell("sessions", range(1, 50));
});

test("sessions keep their promises in histories that once broke one", async () => {
  await tell("sessions", [
    ...[136, 270, 287, 333, 336, 812, 848, 933, 948, 1178, 1481, 1625, 1667, 1725, 1821, 2019],
    ...[2207, 2259, 30_982, 31_624, 100_838],
  ]);
});

test("sessions keep their promises to clients that come back at other nodes", async () => {
  await tell("roams", [
    ...range(1, 14),
    58,
    455,
    30_000,
    30_771,
    100_024,
    100_044,
    100_572,
    103_571,
    103_683,
    300_448,
    921_201,
  ]);
});

test("sessions of nodes that die are adopted by those with which they share a store", async () => {
  await tell("adopts", [
    ...range(1, 16),
    926,
    1389,
    1969,
    5489,
    3604,
    300_390,
    810_206,
    900_003,
    916_287,
    916_752,
  ]);
});

test("nodes that live and are cut off keep what is theirs, or lose it to others, and nothing is lost", async () => {
  await tell("cutoffs", [...range(1, 6), 1934, 6423, 8886, 9139, 700_597, 911_535, 928_056]);
});
