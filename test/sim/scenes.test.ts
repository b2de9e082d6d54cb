/** Short histories that are written down, with nothing broken. */
import { test } from "node:test";
import { tell } from "./told.js";

test("scenes", async () => {
  await tell("scenes", [1]);
});
