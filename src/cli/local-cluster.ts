/** `broker local-cluster`: a cluster on this machine, one process a node, for trying things out. */
import { join, resolve } from "node:path";
import { answers, request } from "../admin/ctl-client.js";
import { ctlPath } from "../admin/ctl-protocol.js";
import { alreadyRuns } from "../admin/ctl-server.js";
import type { ClusterStatus } from "../admin/parts.js";
import { table } from "../admin/render.js";
import { readCookie } from "../config/cookie.js";
import { sleep } from "../lib/clock.js";
import { Refusal } from "../lib/refusal.js";
import { type Child, startChild } from "./child.js";
import type { Dependencies } from "./dependencies.js";
import { logPath } from "./log-path.js";
import { argumentsOf, type CommonOptions, configOf } from "./options.js";
import { onStopSignal } from "./signals.js";

const pollMs = 50;
const joinedWithinMs = 20_000;

export interface LocalClusterOptions extends CommonOptions {
  readonly nodes: number;
  /** MQTT port of the first node; 0: any free ports. */
  readonly port: number;
}

interface LocalNode {
  readonly name: string;
  readonly runDir: string;
  readonly log: string;
  readonly child: Child;
}

/** A node that is to be started. */
interface NodePlan extends Omit<LocalNode, "child"> {
  readonly args: readonly string[];
}

interface Ports {
  readonly mqtt: string;
  readonly link: number;
}

/** Starts the nodes, prints a table and waits for Ctrl-C. Returns the exit code. */
export async function localCluster(
  options: LocalClusterOptions,
  dependencies: Dependencies,
): Promise<number> {
  const { terminal, clock } = dependencies;
  let wake: (how: "stop") => void = () => undefined;
  const asked = new Promise<"stop">((resolve) => {
    wake = resolve;
  });
  onStopSignal(clock, () => wake("stop"));
  const nodes: LocalNode[] = [];
  try {
    const plans = await planNodes(options, dependencies);
    const ready = startNodes(plans, nodes, dependencies);
    if ((await Promise.race([asked, ready])) === "stop") return 0;
    terminal.print(describe(nodes, await ready));
    const allEnded = Promise.all(nodes.map((node) => reportEnd(node, asked, dependencies)));
    if ((await Promise.race([asked, allEnded])) === "stop") return 0;
    throw new Refusal("all nodes have ended");
  } finally {
    wake("stop");
    await stopAll(nodes, dependencies);
  }
}

/** Checks everything that can be checked before the first node is started. */
async function planNodes(
  options: LocalClusterOptions,
  dependencies: Dependencies,
): Promise<NodePlan[]> {
  const { environment, place, random, terminal } = dependencies;
  const names = Array.from({ length: options.nodes }, (_, index) => `node${index + 1}@127.0.0.1`);
  const folder = join(resolve(place.cwd, options.data ?? "data"), "local-cluster");
  const plans: NodePlan[] = [];
  for (const [index, name] of names.entries()) {
    const data = join(folder, `node${index + 1}`);
    const set = [
      ...(options.set ?? []),
      `listeners.tcp.port=${options.port === 0 ? 0 : options.port + index}`,
      `cluster.discovery.static.nodes=${names.join(",")}`,
    ];
    const own = { ...options, node: name, data, set, workers: "0" };
    const { config } = configOf(own, dependencies);
    const { enabled, port: adminPort } = config.admin;
    if (enabled && adminPort > 0) set.push(`admin.port=${adminPort + index}`);
    const runDir = config.node.run_dir;
    const path = ctlPath(runDir, name);
    if (await answers(path)) throw new Refusal(alreadyRuns(name, path));
    if (index === 0) readCookie(config.cluster.cookie_file, environment.cookie, random);
    const args = ["foreground", "--stop-with-parent", ...argumentsOf(own)];
    plans.push({ name, runDir, log: logPath(data), args });
  }
  terminal.print(`Starting ${names.length} nodes; data and logs are in ${folder}`);
  return plans;
}

/**
 * Starts one node after the other, each when the one before has joined: nodes that join each other at the
 * same instant would have to try again. Returns their ports.
 */
async function startNodes(
  plans: readonly NodePlan[],
  nodes: LocalNode[],
  dependencies: Dependencies,
): Promise<Ports[]> {
  const { clock } = dependencies;
  const ports: Ports[] = [];
  for (const { args, ...plan } of plans) {
    const node = { ...plan, child: startChild(args, plan.log, dependencies) };
    nodes.push(node);
    const outcome = await node.child.outcome;
    if ("refused" in outcome) {
      throw new Refusal(
        `the node ${node.name} did not start: ${outcome.refused} (log: ${node.log})`,
      );
    }
    const mqtt = outcome.started.listeners.map(({ port }) => port).join(", ");
    ports.push({ mqtt, link: outcome.started.linkPort });
    const deadlineMs = clock.monotonicMs() + joinedWithinMs;
    while ((await membersSeenBy(node)) < nodes.length) {
      if (clock.monotonicMs() > deadlineMs) {
        const seconds = joinedWithinMs / 1000;
        throw new Refusal(`${node.name} did not join within ${seconds} s (log: ${node.log})`);
      }
      await sleep(clock, pollMs);
    }
  }
  return ports;
}

async function membersSeenBy({ runDir, name }: LocalNode): Promise<number> {
  const response = await request(ctlPath(runDir, name), { command: "status" });
  if (!("ok" in response) || !response.ok) return 0;
  // Both ends of this socket are the same program.
  return (response.result as ClusterStatus).running.length;
}

function describe(nodes: readonly LocalNode[], ports: readonly Ports[]): string {
  const rows = nodes.map(({ name }, index) => {
    const { mqtt = "", link = 0 } = ports[index] ?? {};
    return [name, mqtt, link, `broker ctl --node ${name} status`];
  });
  const first = ports[0]?.mqtt ?? "";
  const last = ports.at(-1)?.mqtt ?? first;
  return [
    "",
    table(["node", "MQTT port", "link port", "ctl"], rows),
    "",
    "Try it: subscribe at one node and publish at another, in two terminals:",
    `  mosquitto_sub -p ${last} -t 'hello/#' -v`,
    `  mosquitto_pub -p ${first} -t hello/world -m 'from another node'`,
    "or, with nothing but npm:",
    `  npx mqtt sub -p ${last} -t 'hello/#' -v`,
    `  npx mqtt pub -p ${first} -t hello/world -m 'from another node'`,
    "",
    "Ctrl-C stops all nodes.",
  ].join("\n");
}

async function reportEnd(
  { name, log, child }: LocalNode,
  asked: Promise<"stop">,
  { terminal }: Dependencies,
): Promise<void> {
  const how = await Promise.race([asked, child.ended]);
  if (how === "stop") return;
  terminal.print(`The node ${name} has ended (${how}); the others go on. Log: ${log}`);
}

async function stopAll(nodes: readonly LocalNode[], dependencies: Dependencies): Promise<void> {
  const { clock, supervision, terminal } = dependencies;
  if (nodes.length > 0) terminal.print("Stopping the nodes");
  for (const { child } of nodes) child.kill("SIGTERM");
  const ended = Promise.all(nodes.map(({ child }) => child.ended)).then(() => "ended");
  const late = sleep(clock, supervision.stopMs).then(() => "late");
  if ((await Promise.race([ended, late])) === "late") {
    for (const { child } of nodes) child.kill("SIGKILL");
    await ended;
  }
  for (const { child } of nodes) child.release();
}
