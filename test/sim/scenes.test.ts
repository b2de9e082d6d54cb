/** Short histories that are written down, with nothing broken. */
import { test } from "node:test";
import { tellScene } from "./scenes/index.js";
import { tell } from "./told.js";

test("scenes", async () => {
  await tell("scenes", [1]);
});

test("where an older session ends is taken note of, although its home has told of the younger one before", async () => {
  await tellScene("cutOff", 4);
});
