import assert from "node:assert/strict";
import { test } from "node:test";
import { Service } from "../../src/lib/service.js";

test("a node is in service while nobody has a reason, and tells the gravest one", () => {
  let nowMs = 1000;
  const service = new Service({ wallMs: () => nowMs });
  const told: boolean[] = [];
  service.watch((inService) => told.push(inService));
  assert.equal(service.report().state, "in_service");

  nowMs = 2000;
  service.set("draining", "an operator drains it");
  nowMs = 3000;
  service.set("broken", "the store is broken");
  assert.equal(service.inService, false);
  assert.deepEqual(service.report(), {
    state: "broken",
    why: "the store is broken",
    since: new Date(3000).toISOString(),
  });

  service.clear("broken");
  service.set("draining", "17 clients are left");
  assert.equal(service.report().why, "17 clients are left");
  assert.equal(service.report().since, new Date(2000).toISOString());
  assert.equal(service.has("draining"), true);

  nowMs = 4000;
  service.clear("draining");
  service.clear("draining");
  assert.equal(service.inService, true);
  assert.equal(service.report().since, new Date(4000).toISOString());
  assert.deepEqual(told, [false, true]);
});
