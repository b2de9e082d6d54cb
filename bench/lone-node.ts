/** One node on the brokers' core, with everything it owns below one folder. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { realClock } from "../src/lib/clock.js";
import { accepting, Child, core, freePort } from "./children.js";

const launcher = fileURLToPath(new URL("../bin/broker", import.meta.url));
const startMaxMs = 120_000;

export interface LoneNode {
  readonly child: Child;
  readonly port: number;
}

/** Resolves when it accepts connections. `settings` are `key=value`. */
export async function startLoneNode(
  folder: string,
  settings: readonly string[] = [],
): Promise<LoneNode> {
  const port = await freePort();
  const environment = {
    BROKER_NODE__RUN_DIR: join(folder, "run"),
    BROKER_CLUSTER__COOKIE_FILE: join(folder, "cookie"),
  };
  mkdirSync(join(folder, "run"), { mode: 0o700, recursive: true });
  const all = [`listeners.tcp.port=${port}`, "cluster.port_range=0-0", ...settings];
  const args = ["foreground", "--node", "idle@127.0.0.1", "--data", join(folder, "data")];
  const sets = all.flatMap((setting) => ["--set", setting]);
  const child = new Child(
    realClock,
    process.execPath,
    [launcher, ...args, ...sets],
    core.broker,
    environment,
  );
  await accepting(realClock, child, port, startMaxMs);
  return { child, port };
}
