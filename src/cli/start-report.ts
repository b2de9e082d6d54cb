/** What a node prints once it has started, and what it warns about. */
import { fileDescriptorLimit } from "../config/file-descriptors.js";
import { enabledListeners, isClosedToStrangers, isLoopback } from "../config/listeners.js";
import type { LoadedConfig } from "../config/load.js";
import type { Config } from "../config/schema.js";
import type { StartOutcome } from "./parent.js";

type StartReport = Extract<StartOutcome, { started: unknown }>["started"];

const descriptorsMin = 4096;

/** Name, version, listeners, connected members, changed settings and warnings. */
export function startReportText(
  report: StartReport,
  version: string,
  { config, changed }: LoadedConfig,
): string {
  const listeners = report.listeners.map(
    ({ kind, address, port }) => `  ${kind} ${port === 0 ? address : `${address}:${port}`}`,
  );
  const settings = changed.map(({ key, value, defaultText, origin }) => {
    return `  ${key} = ${value} (${origin}; default ${defaultText})`;
  });
  return [
    `Trellis ${version}: the node ${report.name} is running`,
    "Listeners:",
    ...listeners,
    ...linksText(report, config.cluster.bind),
    `Connected members: ${report.members.join(", ")}`,
    settings.length === 0
      ? "Settings: all at their defaults"
      : "Settings that are not the default:",
    ...settings,
    ...warnings(config.cluster.bind, fileDescriptorLimit()),
    ...strangersText(config),
  ].join("\n");
}

/** The link port, or with workers that of each. */
function linksText({ linkPort, workers }: StartReport, bind: string): string[] {
  if (workers === undefined) return [`  link ${bind}:${linkPort}`];
  const lines = workers.map(({ name, linkPort: port }) => `  ${name} (link ${bind}:${port})`);
  return ["Workers:", ...lines];
}

/** What the operator must know before trusting the node with anything. */
export function warnings(linkBind: string, descriptors: number | undefined): string[] {
  const found: string[] = [];
  if (descriptors !== undefined && descriptors < descriptorsMin) {
    found.push(
      `WARNING: this process may open ${descriptors} files and sockets only; each client needs one. ` +
        "Raise the limit with `ulimit -n 1048576` before the start (systemd: LimitNOFILE=1048576, " +
        "docker: --ulimit nofile=1048576).",
    );
  }
  if (!isLoopback(linkBind)) {
    found.push(
      `WARNING: links between nodes are accepted on ${linkBind} and are NOT ENCRYPTED: whoever can read ` +
        "this network can read all messages. Use a private network, or cluster.bind = 127.0.0.1.",
    );
  }
  return found;
}

/** Listeners through which anonymous clients cannot come though nobody has said so. */
export function strangersText({ auth, listeners }: Pick<Config, "auth" | "listeners">): string[] {
  const closed = enabledListeners(listeners)
    .filter((listener) => isClosedToStrangers(listener, auth.anonymous))
    .map(({ name }) => name);
  if (closed.length === 0) return [];
  return [
    `NOTE: clients from elsewhere reach ${closed.join(", ")}, so anonymous ones are REFUSED there. Add users ` +
      "with `broker ctl users add NAME`, or let everybody in with auth.anonymous = true (or " +
      "`anonymous: true` in the settings of a listener).",
  ];
}
