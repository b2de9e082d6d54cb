/** Routes, retained messages, publishing and explaining, as the commands see them. */
import type { Cluster } from "../../cluster/cluster.js";
import { Refusal } from "../../lib/refusal.js";
import { stampMs } from "../../lib/hlc.js";
import { filterFault, isShared } from "../../protocol/topics.js";
import type { Group } from "../../routing/group.js";
import { type Entry, packedDurable, packedIndex, packedQos } from "../../routing/leaf.js";
import { Message } from "../../routing/message.js";
import type { Router } from "../../routing/router.js";
import { sharedRow } from "../../routing/shared-row.js";
import type { Topic } from "../../routing/topic.js";
import type { Listing } from "../lists.js";
import type {
  Publisher,
  RetainedControl,
  RetainedInfo,
  RouteCheck,
  RouteControl,
  RouteInfo,
} from "../parts.js";

const nothing = Buffer.alloc(0);

export function routeControl(router: Router, cluster: Cluster): RouteControl {
  return {
    list: (filter) => rows(router, cluster, filter),
    verify: async () => verify(cluster),
  };
}

export function retainedControl(router: Router): RetainedControl {
  const find = (topic: string): Message | null => {
    router.topics.internName(topic);
    return router.retained.get(topic)?.message ?? null;
  };
  return {
    list: (filter) => {
      const fault = filterFault(filter);
      if (fault !== undefined) throw new Refusal(`"${filter}" is no valid filter: ${fault}`);
      return retainedInfos(router, filter);
    },
    get: (topic) => {
      const message = find(topic);
      if (message === null) return undefined;
      const payload = message.bytes.subarray(message.payloadStart, message.payloadEnd);
      return { ...retainedInfo(message), payload };
    },
    delete: async (topic) => {
      if (find(topic) === null) return false;
      await publish(router, { topic, payload: nothing, qos: 1, retain: true });
      return true;
    },
  };
}

export function publisher(router: Router): Publisher {
  return { publish: (request) => publish(router, request) };
}

/** The topic of that name. @throws Refusal when it is none */
export function topicOf(router: Router, name: string): Topic {
  try {
    return router.topics.internName(name);
  } catch {
    throw new Refusal(
      `"${name}" is no valid topic name: it must not be empty or hold + # or U+0000`,
    );
  }
}

function publish(
  router: Router,
  request: Parameters<Publisher["publish"]>[0],
): Promise<{ matched: number }> {
  const { qos, retain } = request;
  const topic = topicOf(router, request.topic);
  const payload = Buffer.from(request.payload);
  const message = new Message(topic, qos, retain, "", payload, 0, 0, 0, payload.length);
  return new Promise((resolve, reject) => {
    const settle = (): void => {
      if (message.refused === 0) resolve({ matched: message.matched });
      else
        reject(
          new Refusal(
            "not published: a limit on retained messages or outboxes is reached, or the store takes nothing",
          ),
        );
    };
    message.sink = { onAccepted: settle, tellsRefusal: true };
    router.publish(message);
    if (message.pending === 0) settle();
  });
}

/** Of all filters, or of this one. `undefined` for what was looked at in vain. */
function* rows(router: Router, cluster: Cluster, filter: string | undefined): Listing<RouteInfo> {
  const { index } = router;
  if (filter === undefined) {
    for (const [key, entry] of index.entries()) {
      yield* entryRows(key, entry, cluster);
      yield undefined;
    }
    for (const group of index.groups()) yield* groupRows(group, cluster);
    return;
  }
  const entry = isShared(filter) ? undefined : index.get(filter);
  if (entry !== undefined) yield* entryRows(filter, entry, cluster);
  const group = index.group(filter);
  if (group !== undefined) yield* groupRows(group, cluster);
}

function* entryRows(key: string, entry: Entry, cluster: Cluster): Iterable<RouteInfo> {
  const peers = typeof entry === "number" ? [entry] : entry.peers;
  const own = typeof entry === "number" ? 0 : entry.ownRow();
  // Our own row has the same bits as a packed one of a peer.
  if (own !== 0) yield route(key, cluster.name, own);
  for (const packed of peers) {
    const peer = cluster.peerAt(packedIndex(packed));
    if (peer !== undefined) yield route(key, peer.name, packed);
  }
}

function* groupRows(group: Group, cluster: Cluster): Iterable<RouteInfo> {
  const { key } = group;
  const own = group.ownRow();
  if (own !== 0) yield groupRoute(key, cluster.name, own);
  for (const [index, value] of group.peerRows()) {
    const peer = cluster.peerAt(index);
    if (peer !== undefined) yield groupRoute(key, peer.name, value);
  }
}

function groupRoute(filter: string, node: string, value: number): RouteInfo {
  const { qos, durable, online, waiting } = sharedRow(value);
  return { filter, node, qos, durable, members: { online, waiting } };
}

const route = (filter: string, node: string, packed: number): RouteInfo => ({
  filter,
  node,
  qos: packedQos(packed),
  durable: packedDurable(packed),
});

/** Compares our copies with what each peer that is up says it has. */
async function verify(cluster: Cluster): Promise<RouteCheck[]> {
  const checks: RouteCheck[] = [];
  for (const peer of cluster.peers()) {
    if (cluster.state(peer.name) !== "up") continue;
    const equal = await new Promise<boolean | null>((done) => peer.verifyRows(done));
    if (equal !== null) checks.push({ peer: peer.name, equal, rows: peer.rows.count });
  }
  return checks;
}

function* retainedInfos({ retained }: Router, filter: string): Listing<RetainedInfo> {
  for (const message of retained.looking(filter)) {
    yield message === null ? undefined : retainedInfo(message);
  }
}

const retainedInfo = (message: Message): RetainedInfo => ({
  topic: message.topic.name,
  qos: message.qos,
  bytes: message.payloadLength,
  publishedAt: new Date(stampMs(message.stamp)).toISOString(),
});
