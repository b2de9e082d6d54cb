/** What a CONNECT costs the cluster (connects.ts). */
import { test } from "node:test";
import { tell } from "./told.js";

test("a CONNECT costs as many messages between 3 nodes as between 10 and 50", async () => {
  await tell("connects", [3, 10, 50]);
});
