/** The cluster as the commands see it: the real one behind `ClusterControl`. */
import type { Cluster } from "../../cluster/cluster.js";
import type { Joiner } from "../../cluster/joiner.js";
import { parseHostPort, parseNodeName } from "../../cluster/names.js";
import type { Peer } from "../../cluster/peer.js";
import type { Member } from "../../cluster/wire/messages.js";
import { stampMs } from "../../lib/hlc.js";
import type {
  AdoptionState,
  ClusterControl,
  ClusterStatus,
  MemberState,
  MemberStatus,
} from "../parts.js";

export interface ClusterControlParts {
  readonly cluster: Cluster;
  readonly joiner: Joiner;
  readonly version: string;
  /** Wall-clock milliseconds at which this node started. */
  readonly startedMs: number;
  load(): { readonly connections: number; readonly sessions: number };
  /** What is wrong with this node, in sentences. */
  alarms(): readonly string[];
  /** How far this node is with adopting what a member left; null: it is not down, or nobody reaches its store. */
  adoption(node: string): AdoptionState | null;
  /** Drops sessions and retained messages, and closes all clients. */
  discardData(): void;
  /** Takes all sessions to the other nodes, and closes the clients. @throws Refusal when some cannot go */
  beforeLeave(): Promise<void>;
  afterLeave(): void;
}

export function clusterControl(parts: ClusterControlParts): ClusterControl {
  const { cluster, joiner } = parts;
  return {
    name: cluster.name,
    join: async (node, { discard }) => {
      if (discard) {
        parts.discardData();
        await joiner.discardIdentity();
      }
      return joiner.join(node);
    },
    leave: async () => {
      await parts.beforeLeave();
      try {
        await joiner.leave();
      } finally {
        parts.afterLeave();
      }
    },
    remove: (node) => joiner.remove(node),
    status: () => status(parts),
    names: (host) => joiner.names(hostOf(host ?? cluster.name)),
  };
}

/** The host in `host` or `name@host`. @throws Refusal when it is neither */
function hostOf(text: string): string {
  return text.includes("@") ? parseNodeName(text).host : parseHostPort(text).host;
}

function status(parts: ClusterControlParts): ClusterStatus {
  const { cluster, version } = parts;
  const members = cluster.members.all().map((member) => memberStatus(parts, member));
  members.sort((a, b) => (a.name < b.name ? -1 : 1));
  const present = members.filter(({ state }) => state !== "left" && state !== "removed");
  const running = present.filter(({ state }) => state === "up" || state === "suspect");
  const stopped = present.filter((member) => !running.includes(member));
  const alarms = parts.alarms();
  return {
    node: cluster.name,
    version,
    running: running.map(({ name }) => name),
    stopped: stopped.map(({ name }) => name),
    partitioned: stopped.length > 0,
    members,
    ...(alarms.length > 0 ? { alarms } : {}),
  };
}

function memberStatus(parts: ClusterControlParts, member: Member): MemberStatus {
  const { cluster, startedMs } = parts;
  const { name, incarnation, status: standing, stamp } = member;
  if (name === cluster.name) {
    return describe(name, "up", startedMs, incarnation, {
      ...parts.load(),
      routes: cluster.table.size,
    });
  }
  const peer = cluster.peer(name);
  if (standing !== "in" || peer === undefined) {
    const state: MemberState = standing === "in" ? "down" : standing;
    const nothing = { connections: 0, sessions: 0, routes: 0 };
    return describe(name, state, stampMs(stamp), incarnation, nothing);
  }
  const described = describe(name, cluster.state(name), peer.sinceMs, incarnation, loadOf(peer));
  const adoption = parts.adoption(name);
  if (adoption === null) return described;
  // What it said of itself when it lived is over.
  return { ...described, ...(adoption === "done" ? { sessions: 0 } : {}), adoption };
}

interface Load {
  readonly connections: number;
  readonly sessions: number;
  readonly routes: number;
}

const loadOf = ({ connections, sessions, rows }: Peer): Load => ({
  connections,
  sessions,
  routes: rows.count,
});

function describe(
  name: string,
  state: MemberState,
  sinceMs: number,
  incarnation: number,
  load: Load,
): MemberStatus {
  return { name, state, since: new Date(sinceMs).toISOString(), incarnation, ...load };
}
