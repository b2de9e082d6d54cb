/** What must hold at the end of a history, when all nodes run, reach each other and are quiet. */
import { homes } from "../../src/cluster/rendezvous.js";
import type { ClusterNode } from "./cluster-node.js";
import type { FakeConnection } from "./fakes.js";
import type { Sent, Story, Subscribed } from "./story.js";

/** Throws with the seed, the last events and the first difference found. */
export async function checkStory(story: Story): Promise<void> {
  throwFirst(story, faults(story));
  for (let round = 0; round < 3; round++) {
    const { nodes } = story;
    const overlaps: string[] = [];
    for (const node of nodes) {
      node.connections.onConnected = (one) => overlaps.push(...overlapFaults(nodes, node, one));
    }
    await story.claimAll();
    throwFirst(story, [...overlaps, ...takeoverFaults(nodes), ...homeFaults(nodes)]);
  }
}

function throwFirst(story: Story, found: Iterable<string>): void {
  for (const fault of found) story.world.check(false, () => fault);
}

function* faults(story: Story): Iterable<string> {
  yield* memberFaults(story.nodes);
  yield* routeFaults(story.nodes);
  yield* deliveryFaults(story);
  yield* acceptanceFaults(story);
  yield* claimFaults(story.nodes);
  yield* homeFaults(story.nodes);
  yield* retainedFaults(story);
  if (story.linksSince > 0) yield `${story.linksSince} links came up while all was quiet`;
}

/** All nodes hold the same list of members, entry by entry. */
function* memberFaults(nodes: readonly ClusterNode[]): Iterable<string> {
  const lists = nodes.map((node) => {
    const entries = node.cluster.members
      .everything()
      .map((member) => JSON.stringify(Object.entries(member).sort()));
    return entries.sort().join("\n");
  });
  for (const [i, list] of lists.entries()) {
    if (list === lists[0]) continue;
    yield `members at ${nodes[i]?.name}:\n${list}\nat ${nodes[0]?.name}:\n${lists[0]}`;
  }
}

/** Every node's copy of every other node's routes equals the original. */
function* routeFaults(nodes: readonly ClusterNode[]): Iterable<string> {
  for (const owner of nodes) {
    const original = sorted(owner.cluster.table.entries());
    const subscribers = sorted(ownRows(owner));
    if (original !== subscribers) {
      yield `${owner.name} tells ${original} and its subscribers are ${subscribers}`;
    }
    for (const holder of nodes) {
      if (holder === owner) continue;
      const index = holder.cluster.peer(owner.name)?.index ?? -1;
      const copy = sorted(holder.router.index.peerRows(index));
      if (copy !== original) yield `${holder.name} holds of ${owner.name} ${copy}, not ${original}`;
    }
  }
}

function* ownRows(node: ClusterNode): Iterable<[string, number]> {
  for (const [filter, entry] of node.router.index.entries()) {
    const row = typeof entry === "number" ? 0 : entry.ownRow();
    if (row !== 0) yield [filter, row];
  }
}

const sorted = (rows: Iterable<[string, number]>): string =>
  JSON.stringify([...rows].sort(([a], [b]) => (a < b ? -1 : 1)));

/** What SUBACK promised came exactly once; nothing came twice; each publisher's order was kept. */
function* deliveryFaults(story: Story): Iterable<string> {
  const counts = new Map<Subscribed["subscriber"], Map<string, number>>();
  for (const node of story.nodes) yield* orderFaults(node);
  for (const { subscriber } of story.subscribed) {
    if (counts.has(subscriber)) continue;
    const count = new Map<string, number>();
    for (const { payload } of subscriber.received)
      count.set(payload, (count.get(payload) ?? 0) + 1);
    counts.set(subscriber, count);
  }
  for (const sent of story.sent) {
    for (const one of sent.promised) {
      const times = counts.get(one.subscriber)?.get(sent.payload) ?? 0;
      const must = isPromised(story, sent, one);
      if ((must && times !== 1) || times > 1) {
        yield `${describe(sent)} came ${times} times to ${one.subscriber.clientId} at ${one.node.name}, who subscribed ${one.filter} at ${one.askedMs.toFixed(1)} ms and got SUBACK at ${one.syncedMs?.toFixed(1)} ms`;
      }
    }
  }
}

const describe = ({ payload, node, message, atMs, acceptedMs }: Sent): string =>
  `message ${payload} (QoS ${message.qos}, ${message.topic.name}) published at ${node.name} at ` +
  `${atMs.toFixed(1)} ms and accepted at ${acceptedMs.toFixed(1)} ms`;

const neverLeft = (story: Story, sent: Sent, one: Subscribed): boolean =>
  story.leaves(one.node) === one.leaves && story.leaves(sent.node) === sent.leaves;

/** Does the promise still stand, after all that happened to both nodes and the link? */
function isPromised(story: Story, sent: Sent, one: Subscribed): boolean {
  if (one.node.process !== one.process || !neverLeft(story, sent, one)) return false;
  if (one.endedMs <= sent.acceptedMs) return false;
  if (sent.process === one.process) return true;
  const { atMs, acceptedMs } = sent;
  const lives = sent.node.process === sent.process;
  // Then the peer itself accepted it, and not the outbox for it.
  const taken =
    acceptedMs - atMs < 5_000 && !story.downSince(sent.process, one.node.name, atMs, acceptedMs);
  if (taken) return true;
  return lives && one.durable && one.endedMs === Number.POSITIVE_INFINITY;
}

function* orderFaults(node: ClusterNode): Iterable<string> {
  for (const { clientId, received } of node.process.subscribers.values()) {
    const last = new Map<string, number>();
    for (const { publisher, payload, qos } of received) {
      if (qos === 0 || payload === "") continue;
      const number = Number(payload);
      if (number < (last.get(publisher) ?? 0)) {
        yield `${clientId} at ${node.name} got ${number} of ${publisher} after ${last.get(publisher)}`;
      }
      last.set(publisher, number);
    }
  }
}

/** Everybody who waited was answered, once. */
function* acceptanceFaults(story: Story): Iterable<string> {
  for (const sent of story.sent) {
    if (sent.node.process !== sent.process) continue;
    const { message, timesAccepted } = sent;
    if (message.pending !== 0 || timesAccepted > 1) {
      yield `${describe(sent)}: ${message.pending} pending, told ${timesAccepted} times`;
    }
  }
  for (const one of story.subscribed) {
    if (one.node.process === one.process && one.syncedMs === null) {
      yield `no SUBACK for ${one.filter} at ${one.node.name}`;
    }
  }
  for (const node of story.nodes) {
    for (const { name, sender } of node.cluster.peers()) {
      if (sender.length > 0) yield `${node.name} still holds ${sender.length} forwards for ${name}`;
    }
  }
}

/** Every claim was answered, and a client id has at most one connection. */
function* claimFaults(nodes: readonly ClusterNode[]): Iterable<string> {
  for (const [, all] of byClientId(nodes)) {
    const unanswered = all.some(({ one }) => one.result === null);
    const open = all.filter(({ one }) => one.state === "connected");
    if (unanswered || open.length > 1) yield inWords(all);
  }
}

/** After claims in a quiet cluster the newest, and no other, has its connection. */
function* takeoverFaults(nodes: readonly ClusterNode[]): Iterable<string> {
  yield* claimFaults(nodes);
  for (const [, all] of byClientId(nodes)) {
    const open = all.find(({ one }) => one.state === "connected");
    const newest = Math.max(...all.map(({ one }) => (one.result?.granted ? one.result.epoch : 0)));
    if (open?.one.epoch !== newest) yield `not the newest: ${inWords(all)}`;
  }
}

/** A connection is attached only when the older ones are closed. */
function* overlapFaults(
  nodes: readonly ClusterNode[],
  at: ClusterNode,
  attached: FakeConnection,
): Iterable<string> {
  for (const [clientId, all] of byClientId(nodes)) {
    if (clientId !== attached.clientId) continue;
    const other = all.find(({ one }) => one.state === "connected" && one !== attached);
    if (other !== undefined) yield `attached too early at ${at.name}: ${inWords(all)}`;
  }
}

interface Claimed {
  readonly node: ClusterNode;
  readonly one: FakeConnection;
}

function byClientId(nodes: readonly ClusterNode[]): Map<string, Claimed[]> {
  const all = new Map<string, Claimed[]>();
  for (const node of nodes) {
    for (const one of node.connections.all) {
      const same = all.get(one.clientId) ?? [];
      same.push({ node, one });
      all.set(one.clientId, same);
    }
  }
  return all;
}

const inWords = (all: readonly Claimed[]): string =>
  `connections of one client id:\n${all
    .map(({ node, one: { clientId, state, epoch, claimedMs, result } }) => {
      const answer = result === null ? "no answer" : result.granted ? "granted" : result.why;
      return `${clientId} at ${node.name}: ${state}, epoch ${epoch}, claimed at ${claimedMs.toFixed(1)} ms, ${answer}`;
    })
    .join("\n")}`;

/** What the home of a client id believes is what the nodes have. */
function* homeFaults(nodes: readonly ClusterNode[]): Iterable<string> {
  const names = nodes.map(({ name }) => name);
  const clientIds = new Set(
    nodes.flatMap((node) => node.connections.all.map(({ clientId }) => clientId)),
  );
  for (const clientId of clientIds) {
    const [homeName] = homes(clientId, names, 1);
    const home = nodes.find(({ name }) => name === homeName);
    const entry = home?.cluster.directory.home.lookup(clientId);
    const places = (kind: "connections" | "sessions"): string =>
      (entry?.[kind] ?? [])
        .map(({ node, epoch }) => `${node} ${epoch}`)
        .sort()
        .join();
    const truth = (fact: "connection" | "session"): string =>
      nodes
        .flatMap((node) => {
          const epoch = node.connections.entry(clientId)?.[fact] ?? null;
          return epoch === null ? [] : [`${node.name} ${epoch}`];
        })
        .sort()
        .join();
    if (places("connections") !== truth("connection")) {
      yield `${homeName} believes ${clientId} connected at ${places("connections")}, it is at ${truth("connection")}`;
    }
    if (places("sessions") !== truth("session")) {
      yield `${homeName} believes sessions of ${clientId} at ${places("sessions")}, they are at ${truth("session")}`;
    }
  }
}

/** Retained messages are the same everywhere, and no older than what any process that lives wrote. */
function* retainedFaults({ nodes, sent }: Story): Iterable<string> {
  const [first, ...others] = nodes;
  if (first === undefined) return;
  const texts = (node: ClusterNode): string => JSON.stringify([...node.retained()].sort());
  for (const node of others) {
    if (texts(node) !== texts(first)) {
      yield `retained at ${first.name} ${texts(first)}, at ${node.name} ${texts(node)}`;
    }
  }
  for (const { node, process, message } of sent) {
    if (!message.retain || node.process !== process) continue;
    const held = first.router.retained.get(message.topic.name);
    if (held === undefined || held.stamp < message.stamp) {
      yield `retained ${message.topic.name} is of ${held?.stamp}, but ${node.name} wrote at ${message.stamp}`;
    }
  }
}
