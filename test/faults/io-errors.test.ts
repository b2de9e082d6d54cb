/** I/O errors of the disk: nothing is acknowledged after one, and the node leaves service and says why. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { FailingDiskNode } from "./support.js";

const retained = { qos: 1, retain: true } as const;

test("a write that fails: no acknowledgement, the node ends, and what was acknowledged is there again", async (t) => {
  const node = new FailingDiskNode(t, []);
  await node.start();
  const client = await node.connect({ protocolVersion: 5 });
  await client.publish("kept", "kept", retained);
  node.fail("write");
  let acknowledged = false;
  client.publish("lost", "lost", retained).then(
    () => {
      acknowledged = true;
    },
    () => undefined,
  );
  assert.equal(await node.ended(), 1);
  assert.equal(acknowledged, false);
  // The flush of the commit before may meet the error first; then lmdb takes nothing more.
  assert.match(node.output, /writing the store failed \((EIO|MDB_PANIC)\)/);
  assert.match(node.output, /leaves service/);
  node.heal();
  await node.start();
  const reader = await node.connect();
  await reader.subscribe("kept");
  assert.deepEqual(await reader.payloads(1), ["kept"]);
});

test("a flush that fails: the node ends at the next commit at the latest", async (t) => {
  const node = new FailingDiskNode(t, []);
  await node.start();
  const client = await node.connect({ protocolVersion: 5 });
  await client.publish("kept", "kept", retained);
  node.fail("sync");
  // The first may be acknowledged: it survives any end of the process.
  client.publish("first", "1", retained).catch(() => undefined);
  let acknowledged = false;
  setTimeout(() => {
    client.publish("second", "2", retained).then(
      () => {
        acknowledged = true;
      },
      () => undefined,
    );
  }, 300);
  assert.equal(await node.ended(), 1);
  assert.equal(acknowledged, false);
  assert.match(node.output, /writing the store failed \((EIO|MDB_PANIC)\)/);
});
