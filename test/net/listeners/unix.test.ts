/** MQTT over a Unix socket: who may connect, and what may be in its place. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { testBroker } from "../../support/front-end.js";
import { folder, onlyAddress, unixClient } from "./support.js";

const unix = (path: string, mode = "0660") => {
  return { settings: { listeners: { unix: { enabled: true, path, mode } } } };
};

test("a client on a Unix socket, which has its mode and is gone after the stop", async (t) => {
  const path = join(folder(t), "mqtt.sock");
  const broker = await testBroker(t, unix(path, "0620"));
  assert.equal(statSync(path).mode & 0o777, 0o620);
  const client = await unixClient(t, path);
  await client.handshake();
  assert.equal(onlyAddress(broker), `unix:${path}`);
  await client.subscribe("t");
  client.publish("t", "x");
  assert.equal((await client.expect("publish")).payload.toString(), "x");
  const listed = broker.frontEnd.listeners()[1];
  assert.deepEqual(listed, { name: "unix", kind: "unix", address: path, port: 0, connections: 1 });
  await broker.stop();
  assert.equal(existsSync(path), false);
});

test("a socket that a dead process left behind is replaced", async (t) => {
  const path = join(folder(t), "mqtt.sock");
  const leave = `require("net").createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, "SIGKILL"))`;
  spawnSync(process.execPath, ["-e", leave]);
  assert.ok(statSync(path).isSocket());
  await testBroker(t, unix(path));
  await (await unixClient(t, path)).handshake();
});

test("a socket in use, another file, or no folder is refused, and nothing stays open", async (t) => {
  const path = join(folder(t), "mqtt.sock");
  await testBroker(t, unix(path));
  await assert.rejects(
    testBroker(t, unix(path)),
    /unix cannot listen at .*another program listens/,
  );
  const file = join(folder(t), "file");
  writeFileSync(file, "precious");
  await assert.rejects(testBroker(t, unix(file)), /there is a file that is no socket/);
  assert.ok(existsSync(file));
  await assert.rejects(testBroker(t, unix("/nowhere/mqtt.sock")), /cannot listen at \/nowhere/);
});
