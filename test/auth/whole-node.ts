/** A whole node in this process for tests of who may come and what they may: its folder, log and control socket. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { request } from "../../src/admin/ctl-client.js";
import { ctlPath } from "../../src/admin/ctl-protocol.js";
import { type Broker, startBroker } from "../../src/broker.js";
import { loadConfig, parseSetFlag } from "../../src/config/load.js";
import type { Config } from "../../src/config/schema.js";
import { createLog } from "../../src/lib/log.js";

const name = "a@127.0.0.1";

export interface WholeNode {
  readonly folder: string;
  /** What it logged. */
  readonly lines: string[];
  start(): Promise<Broker>;
  ctl(command: string, args?: object): Promise<string>;
}

/** @throws what `loadConfig` throws: a flag is wrong, or does not go with the others */
export function settingsOf(folder: string, flags: readonly string[]): Config {
  return loadConfig({
    file: undefined,
    environment: { settings: [], problems: [], cookie: undefined, runtimeDir: undefined },
    flags: [
      `node.name=${name}`,
      `node.data_dir=${folder}`,
      `node.run_dir=${join(folder, "run")}`,
      "listeners.tcp.port=0",
      "cluster.port_range=0-0",
      ...flags,
    ].map(parseSetFlag),
    place: { cwd: folder, home: folder, uid: 0 },
  }).config;
}

/** A node that is not started yet; it is stopped, and its folder goes, when the test ends. */
export function wholeNode(t: TestContext, flags: readonly string[]): WholeNode {
  const folder = mkdtempSync(join(tmpdir(), "trellis-auth-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const lines: string[] = [];
  const config = settingsOf(folder, flags);
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
