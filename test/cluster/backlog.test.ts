/** What `npm run test:backlog` does with hours of messages, with some hundreds. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { roomySettings } from "../backlog/settings.js";
import { BacklogTrial } from "../backlog/trial.js";
import { startNodes } from "../support/nodes.js";

const options = { count: 2000, payloadBytes: 100, before: 400, window: 50, deadlineMs: 30_000 };

test("all that is published while a node is away comes once: to those who wait for it, and to one who went elsewhere", async (t) => {
  const [a, b, c] = await startNodes(t, { nodes: 3, settings: roomySettings });
  assert.ok(a !== undefined && b !== undefined && c !== undefined);
  const { faults } = await new BacklogTrial([a, b, c], options).play();
  assert.deepEqual(faults, []);
});
