/** A whole node with several listeners: its report, ctl listeners and its reload, and the metrics. */
import assert from "node:assert/strict";
import { copyFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { request } from "../../../src/admin/ctl-client.js";
import { ctlPath } from "../../../src/admin/ctl-protocol.js";
import { startBroker } from "../../../src/broker.js";
import { readEnvironment } from "../../../src/config/environment.js";
import { loadConfig, parseSetFlag } from "../../../src/config/load.js";
import { silentLog } from "../../../src/lib/log.js";
import { Authority, folder, openTls } from "./support.js";

test("a node reports its listeners and reads certificates again by ctl", async (t) => {
  const path = folder(t);
  const authority = new Authority(t);
  const put = (name: string): void => {
    const pair = authority.issue(`/CN=${name}`);
    copyFileSync(pair.certificate, join(path, "c.pem"));
    copyFileSync(pair.key, join(path, "k.pem"));
  };
  put("first");
  const { config } = loadConfig({
    file: undefined,
    environment: readEnvironment({}),
    flags: [
      ...[
        "node.data_dir=data",
        "node.run_dir=run",
        "listeners.tcp.port=0",
        "cluster.port_range=0-0",
      ],
      ...["listeners.tls.enabled=true", "listeners.tls.port=0"],
      ...["listeners.tls.certificate=c.pem", "listeners.tls.key=k.pem"],
      'listeners.more=[{"name":"local","kind":"unix","path":"mqtt.sock"}]',
    ].map(parseSetFlag),
    place: { cwd: path, home: path, uid: 0 },
  });
  const broker = await startBroker({
    config,
    cookie: "c".repeat(32),
    log: silentLog,
    version: "0",
  });
  t.after(() => broker.stop());
  const [tcp, tls, local] = broker.report.listeners;
  assert.deepEqual([tcp?.kind, tls?.kind, local?.kind], ["mqtt", "mqtts", "unix"]);
  assert.equal(local?.address, join(path, "mqtt.sock"));
  const ctl = async (action?: string): Promise<string> => {
    const where = ctlPath(config.node.run_dir, config.node.name);
    const args = action === undefined ? {} : { action };
    const response = await request(where, { command: "listeners", args, force: false });
    assert.ok("ok" in response);
    return response.ok ? response.text : response.error;
  };
  assert.match(
    await ctl(),
    /\nmqtts +127\.0\.0\.1 +\d+ +0 +tls\nunix +\S+mqtt\.sock +0 +local\nlink/,
  );
  const shown = async (): Promise<unknown> => {
    const socket = await openTls(t, tls?.port ?? 0, authority.clientOptions());
    const { CN } = socket.getPeerCertificate().subject;
    socket.destroy();
    return CN;
  };
  assert.equal(await shown(), "first");
  put("second");
  assert.equal(await ctl("reload"), "The certificates of tls have been read again");
  assert.equal(await shown(), "second");
  writeFileSync(join(path, "k.pem"), "no key");
  assert.match(await ctl("reload"), /^the old certificates stay in use: tls: \S+c\.pem and /);
  assert.equal(await shown(), "second");
  const metrics = broker.parts.metrics();
  assert.equal(metrics["listeners.certificates_reloaded"], 1);
  assert.equal(metrics["listeners.certificates_not_reloaded"], 1);
});
