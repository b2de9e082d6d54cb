/** A whole node with users: ctl, MQTT.js, a restart, metrics, and a log without secrets. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import mqtt from "mqtt";
import { request } from "../../src/admin/ctl-client.js";
import { ctlPath } from "../../src/admin/ctl-protocol.js";
import { type Broker, startBroker } from "../../src/broker.js";
import { loadConfig, parseSetFlag } from "../../src/config/load.js";
import { createLog } from "../../src/lib/log.js";

const name = "a@127.0.0.1";

interface Place {
  readonly folder: string;
  readonly lines: string[];
  start(): Promise<Broker>;
  ctl(command: string, args?: object): Promise<string>;
}

function place(t: TestContext): Place {
  const folder = mkdtempSync(join(tmpdir(), "trellis-auth-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const lines: string[] = [];
  const { config } = loadConfig({
    file: undefined,
    environment: { settings: [], problems: [], cookie: undefined, runtimeDir: undefined },
    flags: [
      `node.name=${name}`,
      `node.data_dir=${folder}`,
      `node.run_dir=${join(folder, "run")}`,
      "listeners.tcp.port=0",
      "cluster.port_range=0-0",
      "auth.anonymous=false",
    ].map(parseSetFlag),
    place: { cwd: folder, home: folder, uid: 0 },
  });
  return {
    folder,
    lines,
    async start() {
      const log = createLog("debug", { write: (line) => void lines.push(line) });
      const broker = await startBroker({ config, cookie: "c".repeat(32), log, version: "0" });
      t.after(() => broker.stop());
      return broker;
    },
    async ctl(command, args = {}) {
      const response = await request(ctlPath(join(folder, "run"), name), {
        ...{ command, args: { ...args }, force: false },
      });
      assert.ok("ok" in response);
      return response.ok ? response.text : response.error;
    },
  };
}

/** 0, or the code of the refusal. */
async function connect(t: TestContext, broker: Broker, version: 4 | 5, password: string) {
  const port = broker.report.listeners[0]?.port ?? 0;
  const options = { protocolVersion: version, username: "anna", password, reconnectPeriod: 0 };
  try {
    const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${port}`, options);
    t.after(() => client.endAsync(true));
    return 0;
  } catch (error) {
    assert.ok(error instanceof Error && "code" in error);
    return error.code;
  }
}

test("users come and go while the node runs, and outlive it", async (t) => {
  const { start, ctl, lines } = place(t);
  const first = await start();
  assert.equal(await connect(t, first, 5, "top secret"), 0x86);
  assert.equal(
    await ctl("users add", { name: "anna", password: "top secret" }),
    "The user anna has been added",
  );
  assert.equal(await connect(t, first, 5, "top secret"), 0);
  assert.equal(await connect(t, first, 4, "top secret"), 0);
  assert.equal(await connect(t, first, 4, "not so secret"), 4);
  assert.equal(
    await ctl("users add", { name: "anna", password: "x" }),
    "there is a user of this name already",
  );
  assert.match(await ctl("clients list"), /anna/);
  const metrics = first.parts.metrics();
  assert.deepEqual(
    ["passwords_accepted", "refused_unknown_user", "refused_wrong_password"].map(
      (counter) => metrics[`auth.${counter}`],
    ),
    [2, 1, 1],
  );
  assert.equal(metrics["users.held"], 1);
  await first.stop();
  const second = await start();
  assert.equal(await connect(t, second, 5, "top secret"), 0);
  await ctl("users passwd", { name: "anna", password: "another" });
  assert.equal(await connect(t, second, 5, "top secret"), 0x86);
  assert.equal(await connect(t, second, 5, "another"), 0);
  await ctl("users delete", { name: "anna" });
  assert.equal(await connect(t, second, 5, "another"), 0x86);
  assert.ok(lines.length > 0 && !/secret|another/.test(lines.join("")));
});

test("a node with a broken users file does not start, and says why", async (t) => {
  const { start, folder } = place(t);
  writeFileSync(join(folder, "users.json"), "{");
  await assert.rejects(start(), /the users file .*users\.json cannot be used: it is no JSON/);
});
