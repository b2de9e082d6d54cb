/** A session's subscriptions behave like a map, whether there are none, one or many. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { SubscriptionOptions } from "../../src/routing/targets.js";
import { Subscriptions } from "../../src/session/subscriptions.js";

const options = (subscriptionId: number): SubscriptionOptions => ({
  ...{ qos: 1, noLocal: false, retainAsPublished: false, subscriptionId },
});

test("whatever is done to the subscriptions of a session, they equal a map", () => {
  const step = fc.tuple(
    fc.constantFrom("set", "set", "set", "delete", "delete", "clear"),
    fc.constantFrom("a", "b", "#", ""),
    fc.nat(5),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const own = new Subscriptions();
      const model = new Map<string, SubscriptionOptions>();
      for (const [kind, filter, id] of steps) {
        if (kind === "clear") {
          own.clear();
          model.clear();
        } else if (kind === "delete") assert.equal(own.delete(filter), model.delete(filter));
        else {
          own.set(filter, options(id));
          model.set(filter, options(id));
        }
        assert.deepEqual([...own], [...model]);
        assert.deepEqual([...own.keys()], [...model.keys()]);
        assert.equal(own.size, model.size);
        assert.deepEqual(own.get(filter), model.get(filter));
        assert.equal(own.has(filter), model.has(filter));
      }
    }),
  );
});
