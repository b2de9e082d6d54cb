/** What `explain` says of very many subscribers. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { explainer } from "../../src/admin/node/explainer.js";
import type { Cluster } from "../../src/cluster/cluster.js";
import { realClock } from "../../src/lib/clock.js";
import { Router } from "../../src/routing/router.js";
import type { Sessions } from "../../src/session/sessions.js";
import { LoneCluster } from "../support/front-end.js";

const retained = { messages: 1, bytes: 1, forgetAfterMs: 1, ttlMs: 0 };
const options = { qos: 1 as const, noLocal: false, retainAsPublished: false, subscriptionId: 0 };
const count = 1500;

test("of very many clients it names some, and whoever is asked about", () => {
  const router = new Router(new LoneCluster(), retained, realClock);
  for (let i = 0; i < count; i++) {
    const subscriber = { clientId: `c${i}`, deliver: () => true };
    router.subscribe(subscriber, "#", options, false);
    router.subscribe(subscriber, "$share/g/#", options, false);
  }
  const session = (clientId: string) => ({
    ...{ clientId, access: null, channel: {}, subscriptions: new Map([["#", options]]) },
  });
  // It uses nothing else of them.
  const sessions = { get: session } as unknown as Sessions;
  const cluster = { peerAt: () => undefined, state: () => "up" } as unknown as Cluster;
  const { explain } = explainer(router, cluster, sessions);
  const all = explain("t", undefined);
  assert.deepEqual([all.local.length, all.unnamed], [1000, 500]);
  assert.deepEqual(all.local[7], { clientId: "c7", filters: ["#"], qos: 1, connected: true });
  assert.equal(all.groups[0]?.local.length, 1000);
  const one = explain("t", "c1400");
  assert.deepEqual([one.local.length, one.unnamed], [1001, 499]);
  assert.match(one.client?.because ?? "", /^# matches/);
  assert.equal(one.groups[0]?.local.length, 1001);
});
