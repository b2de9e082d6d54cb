/** Short histories that are written down, with nothing broken. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { sceneNames, tellScene } from "./scenes/index.js";
import { tell } from "./told.js";

test("scenes", async () => {
  await tell("scenes", [1]);
});

test("where an older session ends is taken note of, although its home has told of the younger one before", async () => {
  await tellScene("cutOff", 4);
});

test("each scene has a name of its own", () => {
  assert.equal(new Set(sceneNames).size, sceneNames.length);
});
