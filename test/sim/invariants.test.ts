/** Random histories: whatever happens to nodes and links, promises are kept and all copies end equal (checks.ts). */
import { test } from "node:test";
import { range, tell } from "./told.js";

test("promises hold in the histories 1 to 80 of a cluster", async () => {
  await tell("cluster", range(1, 80));
});
