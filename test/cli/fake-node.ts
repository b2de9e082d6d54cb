/**
 * The command line with a stand-in for the broker: real processes, sockets, signals and configuration, and
 * no MQTT. What the stand-in shall do is said by its settings, so that processes need no other channel:
 * log.level debug: its start is refused · limits.open_qos2 1: it crashes at the start · 2: it crashes a
 * moment after it.
 */
import { fileURLToPath } from "node:url";
import { openCtl } from "../../src/admin/ctl-server.js";
import {
  type Dependencies,
  realDependencies,
  type StartBroker,
} from "../../src/cli/dependencies.js";
import { Refusal } from "../../src/lib/refusal.js";
import { silentLog } from "../../src/lib/log.js";
import { fakeParts } from "../admin/fake-parts.js";

/** Starts a control socket with parts that only remember what was asked. */
export const startFake: StartBroker = async ({ config, version }) => {
  const { name, run_dir: runDir } = config.node;
  if (config.log.level === "debug") throw new Refusal("the fake refuses to start");
  if (config.limits.open_qos2 === 1) process.exit(7);
  let ended: () => void = () => undefined;
  const stopped = new Promise<void>((resolve) => {
    ended = resolve;
  });
  const others = config.cluster.discovery.static.nodes.filter((node) => node !== name);
  const parts = fakeParts({ name, version, others, onStop: () => void stop() });
  const ctl = await openCtl({ runDir, name, parts, log: silentLog });
  const stop = async (): Promise<void> => {
    await ctl.close();
    ended();
  };
  if (config.limits.open_qos2 === 2) setTimeout(() => process.exit(7), 20);
  return {
    report: parts.report(),
    reload: () => parts.acl.reload().then(() => undefined),
    stop,
    stopped,
  };
};

/** This machine with the stand-in, impatient; further processes are of the same kind. */
export function fakeDependencies(): Dependencies {
  const entry = fileURLToPath(new URL("fake-main.ts", import.meta.url));
  return {
    ...realDependencies(),
    self: [process.execPath, "--import", import.meta.resolve("tsx"), entry],
    startBroker: startFake,
    supervision: {
      ...{ firstWaitMs: 5, mostWaitMs: 20, crashesMax: 3, windowMs: 60_000, stopMs: 10_000 },
    },
  };
}
