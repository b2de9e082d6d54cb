/**
 * Random histories of clients with wills (wills/story.ts): whatever happens to clients, nodes and links, each will that is due
 * comes once, no other comes, and none comes after what its client has published since.
 */
import { test } from "node:test";
import { range, tell } from "./told.js";

test("wills keep to their rules in the histories 1 to 40", async () => {
  await tell("wills", range(1, 40));
});

test("wills keep to their rules in histories that once broke one", async () => {
  await tell(
    "wills",
    [
      162, 1574, 4525, 9157, 400044, 400392, 400549, 400561, 401359, 520990, 521762, 911308, 932357,
      932425,
    ],
  );
});

test("wills keep to their rules where nodes share a store, and adopt the sessions of those that die", async () => {
  await tell("adoptedWills", range(1, 20));
});

test("wills of adopted sessions keep to their rules in histories that once broke one", async () => {
  await tell("adoptedWills", [261, 366, 397, 489, 719, 1316, 1323, 1476, 2077, 4458, 4863]);
});
