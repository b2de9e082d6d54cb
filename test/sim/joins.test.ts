/** Histories of two populated clusters that become one (joins/): nobody loses a connection or a message by it. */
import { test } from "node:test";
import { range, tell } from "./told.js";

test("two clusters become one in the histories 1 to 12, and one that once lost a message", async () => {
  await tell("joins", [...range(1, 12), 2376]);
});
