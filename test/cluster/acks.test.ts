/** On which connection of a link STREAM_ACK leaves: with the forwards of its turn, else by itself. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Link } from "../../src/cluster/link.js";
import { FrameType } from "../../src/cluster/wire/frames.js";
import { startCluster } from "../sim/cluster-node.js";
import { replace } from "../sim/rules/rule.js";
import { World } from "../sim/world/world.js";

const options = { qos: 1, noLocal: false, retainAsPublished: false, subscriptionId: 0 } as const;

test("an acknowledgement leaves with the forwards of its turn, and by itself where there are none", async (t) => {
  const world = new World(3);
  const [a, b] = await startCluster(world, 2);
  assert.ok(a !== undefined && b !== undefined);
  const answers = await a.subscribe("answers", "answer");
  const deliver = (): boolean => {
    b.publish("answer", "yes");
    return true;
  };
  b.router.subscribe({ clientId: "asked", deliver }, "ask", options, false);
  await world.until(() => a.publish("ask", "?").matched > 0, 2000, "a has the row");
  await world.until(() => answers.payloads.length > 0, 2000, "answered");
  await world.run(1000);
  const acks = { control: 0, data: 0 };
  const note =
    (place: keyof typeof acks) =>
    (sound: Link["sendData"]): Link["sendData"] =>
      function (this: Link, frame) {
        if (frame[4] === FrameType.streamAck) acks[place]++;
        sound.call(this, frame);
      };
  t.after(replace(Link.prototype, "sendData", note("data")));
  t.after(replace(Link.prototype, "sendControl", note("control")));
  const before = answers.payloads.length;
  const sent = a.publish("ask", "?");
  await world.until(() => sent.pending === 0, 2000, "PUBACK");
  assert.equal(answers.payloads.length, before + 1);
  await world.run(1000);
  assert.deepEqual(acks, { control: 1, data: 1 });
});

test("what is accepted when a node says goodbye its peer hears", async () => {
  const world = new World(4);
  const [a, b] = await startCluster(world, 2);
  assert.ok(a !== undefined && b !== undefined);
  await a.subscribe("answers", "answer");
  let isOver = false;
  const deliver = (): boolean => {
    b.publish("answer", "the last");
    // In the same turn, when the forward is accepted.
    if (isOver) queueMicrotask(() => b.cluster.stop());
    return true;
  };
  b.router.subscribe({ clientId: "asked", deliver }, "ask", options, false);
  await world.until(() => a.publish("ask", "?").matched > 0, 2000, "a has the row");
  await world.run(1000);
  isOver = true;
  const sent = a.publish("ask", "?");
  await world.until(() => sent.pending === 0, 2000, "PUBACK");
  assert.equal(a.cluster.peer(b.name)?.sender.counters.droppedDown, 0);
});
