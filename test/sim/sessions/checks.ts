/** What must hold at the end of a history of sessions, when everybody is online and everything is answered. */
import type { SimClient } from "./client.js";
import { type Interest, inWords, isShared, matches, payloadOf, type Sent } from "./ledger.js";
import type { SessionNode } from "./node.js";
import type { SessionStory } from "./story.js";
import { troubledSinceMs } from "./touch.js";

/** What is looked at. */
export type CheckedStory = Pick<
  SessionStory,
  "world" | "clients" | "nodes" | "ledger" | "restartAll"
>;

const neverEnded = Number.POSITIVE_INFINITY;
/** A node notices the end of a connection or of another node a little later. */
const noticedMs = 500;
/** The nodes that choose hear of the end of a connection or a subscription: over two links at most. */
const goneMs = 300;
/** So long may a message be on its way to a client. */
const wayMs = 200;

/** Throws with the seed, the last events and the first difference found. */
export async function checkSessions(story: CheckedStory): Promise<void> {
  throwFirst(story);
  await story.restartAll();
  throwFirst(story);
}

function throwFirst(story: CheckedStory): void {
  for (const fault of faults(story)) story.world.check(false, () => fault);
}

function* faults({ clients, nodes, ledger }: CheckedStory): Iterable<string> {
  yield* ownerFaults(clients, nodes);
  for (const client of clients) yield* subscriptionFaults(client);
  for (const sent of ledger.sent) {
    if (sent.isRefused) {
      const taker = clients.find((client) => client.taken.has(sent));
      if (taker !== undefined) yield `${taker.clientId} got ${inWords(sent)}, which was refused`;
      continue;
    }
    if (sent.qos === 0 || sent.acknowledgedMs === Number.POSITIVE_INFINITY) continue;
    for (const client of clients) {
      yield* deliveryFaults(client, sent);
      yield* legacyFaults(client, sent);
    }
    yield* groupFaults(clients, nodes, sent);
    yield* doubleFaults(clients, nodes, sent);
  }
  for (const node of nodes) yield* nodeFaults(node);
}

/** Was the message promised by this subscription? */
function isPromised(one: Interest, sent: Sent): boolean {
  // A node that could not be reached learns of a subscription when it can; one that gets what is repeated publishes that.
  const isKnown = [sent, sent.latest].every(
    ({ node, sentMs }) => (one.knownMs.get(node) ?? neverEnded) <= sentMs,
  );
  const covers = one.grantedMs <= sent.sentMs && one.endedMs > sent.acknowledgedMs;
  return covers && isKnown && one.qos > 0 && matches(one.filter, sent.topic);
}

/** Acknowledged is delivered: to everybody whose session was there all the time. */
function* deliveryFaults(client: SimClient, sent: Sent): Iterable<string> {
  const one = client.interests.find(
    (own) =>
      !isShared(own.filter) &&
      isPromised(own, sent) &&
      cameInTime(own, sent, [client.sessionNode(), own.endedAt]),
  );
  if (one === undefined || client.taken.has(sent)) return;
  // Nothing waits for a session that ends with its connection.
  if (!one.isKept && wereCutOff(sent.place, client.sessionNode(), sent)) return;
  yield `${client.clientId} never got ${inWords(sent)}; it subscribed to ${one.filter} at ${one.grantedMs.toFixed(1)} ms`;
}

/**
 * Was it at all these nodes before the subscription ended? What waited for a node that was down goes to whoever is
 * subscribed when it comes [MQTT-3.10.4-2], also when that node's sessions have been adopted by then.
 */
function cameInTime(
  { endedMs }: Interest,
  sent: Sent,
  nodes: readonly (SessionNode | null)[],
): boolean {
  if (endedMs === neverEnded) return true;
  const isThere = ({ name }: SessionNode): boolean =>
    (sent.reachedMs.get(name) ?? neverEnded) < endedMs;
  return nodes.every((node) => node === null || isThere(node));
}

/** Did one of these two nodes take the other for down, as it was cut off or had started so, while the message was published? */
function wereCutOff(one: SessionNode, other: SessionNode, sent: Sent): boolean {
  const { sentMs, acknowledgedMs } = sent;
  return (
    one.wasCutOffFrom(other.name, sentMs, acknowledgedMs) ||
    other.wasCutOffFrom(one.name, sentMs, acknowledgedMs)
  );
}

/** What was promised to a session that was lost with its node comes with that, unless nobody wants it any more. */
function* legacyFaults(client: SimClient, sent: Sent): Iterable<string> {
  for (const { interests, askedMs, isVoid, node, backMs } of client.legacies) {
    // Without any subscription in its place it ends when its node is back.
    if (isVoid || sent.acknowledgedMs >= Math.min(askedMs, backMs())) continue;
    const one = interests.find((own) => !isShared(own.filter) && isPromised(own, sent));
    if (one === undefined || client.taken.has(sent)) continue;
    yield `${client.clientId} never got ${inWords(sent)}, which its session at ${node.name} was promised by ${one.filter}`;
  }
}

/** Each client has one session. */
export function* ownerFaults(
  clients: readonly SimClient[],
  nodes: readonly SessionNode[],
): Iterable<string> {
  for (const { clientId } of clients) {
    const at = nodes.filter(({ process }) => process?.sessions.get(clientId) !== undefined);
    if (at.length < 2) continue;
    yield `two sessions of ${clientId}, at ${at.map(({ name }) => name).join(" and ")}`;
  }
}

/** A group gets what one of its members was promised. */
function* groupFaults(
  clients: readonly SimClient[],
  nodes: readonly SessionNode[],
  sent: Sent,
): Iterable<string> {
  const lastCrashMs = Math.max(...nodes.map((node) => node.lastCrashMs));
  for (const client of clients) {
    const one = client.interests.find((own) => isShared(own.filter) && isPromised(own, sent));
    // While its group was there, and has been since.
    if (one === undefined || one.endedMs !== Number.POSITIVE_INFINITY) continue;
    if (!one.isKept) continue;
    const isExcused = clients.some(
      (other) =>
        other.taken.has(sent) ||
        mayLose(other, one.filter, sent, lastCrashMs) ||
        other.memberships.some(
          (own) =>
            own.filter === one.filter && own.qos === 0 && mayLoseQos0(other, own, sent, nodes),
        ),
    );
    if (isExcused) continue;
    yield `no member of ${one.filter} ever got ${inWords(sent)}; ${client.clientId} is one since ${one.grantedMs.toFixed(1)} ms`;
  }
}

/** One member of a group gets it with QoS 2, while no node dies. */
function* doubleFaults(
  clients: readonly SimClient[],
  nodes: readonly SessionNode[],
  sent: Sent,
): Iterable<string> {
  if (nodes.some(({ lastCrashMs }) => lastCrashMs >= sent.sentMs)) return;
  const takers = clients.filter(
    (client) => client.takenOnce.has(sent) && client.memberships.length > 0,
  );
  if (takers.length < 2) return;
  yield `${takers.map(({ clientId }) => clientId).join(" and ")} got ${inWords(sent)} as members of one group`;
}

/**
 * Could the message have gone to this member with more than QoS 0, which has lost it? A session in memory loses it with the node where it
 * was, even on the way to the next member. One of QoS 2 that was sent ends with the session that it was sent to.
 */
function mayLose(
  { memberships, lastClosedMs }: SimClient,
  filter: string,
  sent: Sent,
  lastCrashMs: number,
): boolean {
  const sinceMs = sent.sentMs - noticedMs;
  return memberships.some((own) => {
    if (own.filter !== filter || own.overMs < sinceMs || own.qos === 0) return false;
    if (!own.isKept && lastCrashMs >= sent.sentMs) return true;
    const hasEnded = own.isKept ? own.overMs !== neverEnded : lastClosedMs >= sinceMs;
    return hasEnded && sent.qos === 2 && own.qos === 2;
  });
}

/**
 * Was it given to this member at QoS 0 at a moment when it could not be sent at once? Its connection was gone or about to go, its node
 * kept everything from stored sessions, as others might adopt them, or what went to it by way of two nodes was lost between them.
 */
function mayLoseQos0(
  client: SimClient,
  own: Interest,
  sent: Sent,
  nodes: readonly SessionNode[],
): boolean {
  const payload = payloadOf(sent);
  return nodes.some((node) =>
    node.touch.chosenMs(payload).some((atMs) => {
      if (own.askedMs > atMs) return false;
      const at = client.stays.findLast(({ openedMs }) => openedMs <= atMs)?.node;
      const ends = [node, ...(at === undefined ? [] : [at])];
      const lostSinceMs = troubleMs(ends, nodes, atMs);
      if (lostSinceMs <= atMs && own.overMs + goneMs >= lostSinceMs) return true;
      if (own.overMs + goneMs < atMs) return false;
      if (own.isKept && nodes.some((one) => one.wasSilent(atMs))) return true;
      return client.stays.some(
        ({ closedMs }) => closedMs >= atMs - goneMs && closedMs <= atMs + wayMs,
      );
    }),
  );
}

/** Since when was what these nodes exchange with others lost at that moment? Infinity: it was not. */
function troubleMs(
  ends: readonly SessionNode[],
  nodes: readonly SessionNode[],
  atMs: number,
): number {
  const pairs = ends.flatMap((one) =>
    nodes.filter((other) => other !== one).map((other) => troubledSinceMs(one, other, atMs)),
  );
  return Math.min(neverEnded, ...pairs);
}

/** What was granted is there, and what was ended is not. */
function* subscriptionFaults(client: SimClient): Iterable<string> {
  const session = client.sessionNode().process?.sessions.get(client.clientId);
  if (session === undefined) {
    yield `${client.clientId} is online and has no session`;
    return;
  }
  const last = new Map<string, Interest>();
  for (const one of client.interests) last.set(one.filter, one);
  for (const [filter, { grantedMs, endedMs, overMs, qos }] of last) {
    const own = session.subscriptions.get(filter);
    const isOver = overMs !== Number.POSITIVE_INFINITY;
    if (isOver && own !== undefined) yield `${client.clientId} is still subscribed to ${filter}`;
    const isSure = grantedMs !== Number.POSITIVE_INFINITY && endedMs === Number.POSITIVE_INFINITY;
    if (isSure && own?.qos !== qos) {
      yield `${client.clientId} has QoS ${own?.qos} at ${filter}, granted was ${qos}`;
    }
  }
  for (const filter of session.subscriptions.keys()) {
    if (!last.has(filter)) yield `${client.clientId} is subscribed to ${filter} by nobody`;
  }
  if (session.window.inFlight + session.queued + session.openQos2 > 0) {
    yield `${client.clientId}: ${session.window.inFlight} in flight, ${session.queued} wait, ${session.openQos2} open`;
  }
}

/** Nothing is left over, and nothing was counted that did not happen. */
function* nodeFaults({ name, process, lives }: SessionNode): Iterable<string> {
  for (const life of lives) {
    const { sessions, counters } = life;
    const { lostDamaged, fenced, droppedQueueFull, droppedExpired } = sessions.counters;
    const wrong = { bugs: counters.bugs, lostDamaged, fenced, droppedQueueFull, droppedExpired };
    for (const [what, count] of Object.entries(wrong)) {
      if (count > 0) yield `${name} counted ${what}: ${count}`;
    }
  }
  if (process === null) return;
  const { sessions, commits, cluster } = process;
  if (commits.stalled !== null) yield `${name} is stalled: ${commits.stalled.why}`;
  const { bodies, publishes } = sessions.journals ?? {};
  if ((bodies?.size ?? 0) > 0) yield `${name} keeps ${bodies?.size} bodies that nobody is due`;
  if ((publishes?.length ?? 0) > 0) yield `${name} did not publish what was committed`;
  for (const peer of cluster.peers()) {
    if (peer.sender.length > 0)
      yield `${name} holds ${peer.sender.length} forwards for ${peer.name}`;
  }
}
