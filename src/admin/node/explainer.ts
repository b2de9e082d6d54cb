/** Why a message would reach somebody, or not: asks the real matcher without sending anything. */
import type { Cluster } from "../../cluster/cluster.js";
import { packedDurable, packedIndex, packedQos } from "../../routing/leaf.js";
import type { Group } from "../../routing/group.js";
import { sharedRow } from "../../routing/shared-row.js";
import type { Router } from "../../routing/router.js";
import type { Delivery } from "../../routing/targets.js";
import type { Sessions } from "../../session/sessions.js";
import type { Explainer, Explanation } from "../parts.js";
import { sayRule } from "./acl-control.js";
import { topicOf } from "./routing-control.js";

/** Clients, and members of one share group, that are named; more would hold the node up. */
const namedMax = 1000;

interface Matches {
  /** Filters by client id of our own sessions, and by peer index. */
  readonly local: Map<string, string[]>;
  readonly peers: Map<number, PeerMatch>;
}

interface PeerMatch {
  readonly filters: string[];
  qos: number;
  durable: boolean;
}

export function explainer(router: Router, cluster: Cluster, sessions: Sessions): Explainer {
  return {
    explain: (name, clientId) => {
      const topic = topicOf(router, name);
      const { local: all, groups } = router.targetsOf(topic);
      const local = namedOf(all, clientId);
      const matches = matchesOf(router, name, local);
      const members = groups.flatMap((group) =>
        membersOf(group, clientId).map(({ delivery }) => delivery),
      );
      const denied = deniedOf([...local, ...members], name, sessions);
      const deniedIds = new Set(denied.map(({ clientId: id }) => id));
      const isDenied = ({ subscriber }: Delivery): boolean => deniedIds.has(subscriber.clientId);
      const explanation: Explanation = {
        topic: name,
        denied,
        ...(all.length > local.length ? { unnamed: all.length - local.length } : {}),
        local: local
          .filter((delivery) => !isDenied(delivery))
          .map((delivery) => ({
            clientId: delivery.subscriber.clientId,
            filters: matches.local.get(delivery.subscriber.clientId) ?? [],
            qos: delivery.qos,
            connected: isConnected(sessions, delivery.subscriber.clientId),
          })),
        peers: peerTargets(cluster, matches),
        groups: groups.map((group) => groupOf(group, cluster, clientId)),
      };
      if (clientId === undefined) return explanation;
      return { ...explanation, client: verdict(clientId, explanation, local, matches, sessions) };
    },
  };
}

/** The first ones, and the client that is asked about. */
function namedOf(all: readonly Delivery[], clientId: string | undefined): readonly Delivery[] {
  if (all.length <= namedMax) return all;
  const named = all.slice(0, namedMax);
  const asked = all.find(
    ({ subscriber }, at) => at >= namedMax && subscriber.clientId === clientId,
  );
  return asked === undefined ? named : [...named, asked];
}

/** The same of the members of a group in this node. */
function membersOf(group: Group, clientId: string | undefined) {
  const named: { readonly delivery: Delivery; readonly online: boolean }[] = [];
  for (const member of group.ownMembers()) {
    const isAsked = member.delivery.subscriber.clientId === clientId;
    if (named.length < namedMax || isAsked) named.push(member);
  }
  return named;
}

function matchesOf(router: Router, topic: string, named: readonly Delivery[]): Matches {
  const local = new Map<string, string[]>();
  for (const { subscriber } of named) local.set(subscriber.clientId, []);
  const peers = new Map<number, PeerMatch>();
  router.index.matchNamed(topic, (entry, filter) => {
    for (const packed of typeof entry === "number" ? [entry] : entry.peers) {
      const index = packedIndex(packed);
      const match = peers.get(index) ?? { filters: [], qos: 0, durable: false };
      match.filters.push(filter);
      match.qos = Math.max(match.qos, packedQos(packed));
      match.durable ||= packedDurable(packed);
      peers.set(index, match);
    }
    if (typeof entry === "number" || entry.local === null) return;
    for (const { subscriber } of entry.local) {
      local.get(subscriber.clientId)?.push(filter);
    }
  });
  return { local, peers };
}

function groupOf(
  group: Group,
  cluster: Cluster,
  clientId: string | undefined,
): Explanation["groups"][number] {
  const local = membersOf(group, clientId).map(({ delivery, online }) => ({
    clientId: delivery.subscriber.clientId,
    qos: delivery.qos,
    connected: online,
  }));
  const peers = [...group.peerRows()].flatMap(([index, value]) => {
    const peer = cluster.peerAt(index);
    if (peer === undefined) return [];
    const { qos, durable, online, waiting } = sharedRow(value);
    const members = { online, waiting };
    return [{ node: peer.name, state: cluster.state(peer.name), members, qos, durable }];
  });
  return { filter: group.key, local, peers };
}

function peerTargets(cluster: Cluster, { peers }: Matches): Explanation["peers"] {
  return [...peers].flatMap(([index, { filters, qos, durable }]) => {
    const peer = cluster.peerAt(index);
    if (peer === undefined) return [];
    return [{ node: peer.name, state: cluster.state(peer.name), filters, qos, durable }];
  });
}

/** Whom the access rules keep from getting it, and which of them. */
function deniedOf(
  deliveries: readonly Delivery[],
  topic: string,
  sessions: Sessions,
): Explanation["denied"] {
  const found = new Map<string, string>();
  for (const { subscriber } of deliveries) {
    const access = sessions.get(subscriber.clientId)?.access ?? null;
    const verdict = access === null ? null : sayRule(access, "subscribe", topic);
    if (verdict !== null && !verdict.allowed) found.set(subscriber.clientId, verdict.because);
  }
  return [...found].map(([clientId, because]) => ({ clientId, because }));
}

const isConnected = (sessions: Sessions, clientId: string): boolean =>
  (sessions.get(clientId)?.channel ?? null) !== null;

function verdict(
  clientId: string,
  { topic, groups, denied }: Explanation,
  local: readonly Delivery[],
  { local: filters }: Matches,
  sessions: Sessions,
): NonNullable<Explanation["client"]> {
  const session = sessions.get(clientId);
  const no = (because: string) => ({ clientId, delivered: false, because });
  if (session === undefined) return no("it has no session in this node");
  const denial = denied.find((one) => one.clientId === clientId);
  if (denial !== undefined) return no(`it subscribed, but ${denial.because}`);
  const delivery = local.find(({ subscriber }) => subscriber.clientId === clientId);
  const group = groups.find((one) => one.local.some((member) => member.clientId === clientId));
  if (delivery === undefined && group !== undefined) {
    const because = `${group.filter} matches: it is a member, and one of them gets each message`;
    return { clientId, delivered: true, because };
  }
  if (delivery === undefined) {
    const subscribed = [...session.subscriptions.keys()];
    if (subscribed.length === 0) return no("it has no subscription");
    const shown = subscribed.slice(0, 5).join(", ");
    return no(`none of its ${subscribed.length} filters matches ${topic} (${shown})`);
  }
  const matching = (filters.get(clientId) ?? []).join(", ");
  if (delivery.noLocal) {
    const because = `${matching} matches, with no-local: it does not get what it publishes itself`;
    return { clientId, delivered: true, because };
  }
  if (session.channel === null) {
    const fate = delivery.qos === 0 ? "QoS 0 is not kept" : "QoS 1 and 2 wait in its queue";
    const delivered = delivery.qos > 0;
    return { clientId, delivered, because: `${matching} matches; it is not connected: ${fate}` };
  }
  return { clientId, delivered: true, because: `${matching} matches, at most QoS ${delivery.qos}` };
}
