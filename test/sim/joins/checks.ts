/** What must be when two clusters have become one, and all is quiet. */
import { payloadOf } from "../fakes.js";
import type { SessionNode } from "../sessions/node.js";
import type { Double, JoinStory } from "./story.js";

/** Throws with the seed, the last events and the first difference found. */
export async function checkJoin(story: JoinStory): Promise<void> {
  throwFirst(story, faults(story));
  await story.restartAll();
  throwFirst(story, [...sessionFaults(story), ...retainedFaults(story)]);
}

function throwFirst(story: JoinStory, found: Iterable<string>): void {
  for (const fault of found) story.world.check(false, () => fault);
}

function* faults(story: JoinStory): Iterable<string> {
  yield* connectionFaults(story);
  yield* sessionFaults(story);
  yield* retainedFaults(story);
  for (const double of story.doubles) yield* queueFaults(story, double);
}

/** Connections stay; of two of one client id the younger does. */
function* connectionFaults({ singles, doubles, died }: JoinStory): Iterable<string> {
  for (const { actor, node, connections } of singles) {
    if (died.has(node)) continue;
    const stays = actor.state === "online" && actor.connections === connections;
    if (!stays) yield `${actor.clientId} has lost its connection: it is ${actor.state}`;
  }
  for (const { clientId, halves } of doubles) {
    const online = halves.filter(({ actor }) => actor.state === "online");
    if (online.length !== 1) yield `${clientId} has ${online.length} connections`;
    if (halves.some(({ node, isConnected }) => died.has(node) || !isConnected)) continue;
    const [one, other] = halves;
    const younger = one.connectedMs > other.connectedMs ? one : other;
    if (online[0] !== younger) yield `${clientId}: the older connection has stayed`;
    const older = younger === one ? other : one;
    const bye = older.actor.got.find(({ cmd }) => cmd === "disconnect");
    if (bye?.cmd !== "disconnect" || bye.reasonCode !== 0x8e) {
      yield `${clientId} was told ${JSON.stringify(bye)} when its older connection was closed`;
    }
  }
}

/** Each client id has one session. */
function* sessionFaults({ nodes, doubles }: JoinStory): Iterable<string> {
  for (const { clientId } of doubles) {
    const at = nodes.filter(({ process }) => process?.sessions.get(clientId) !== undefined);
    if (at.length !== 1) yield `sessions of ${clientId} at ${at.map(({ name }) => name).join()}`;
  }
}

/** All nodes hold the same, and of each topic what was written last. */
function* retainedFaults({ nodes, retained }: JoinStory): Iterable<string> {
  for (const node of nodes) {
    const held = retainedAt(node);
    for (const [topic, payload] of retained) {
      const own = held.get(topic) ?? "";
      if (own !== payload) yield `${node.name} retains "${own}" of ${topic}, not "${payload}"`;
    }
  }
}

function retainedAt({ process }: SessionNode): Map<string, string> {
  const held = new Map<string, string>();
  for (const { topic, message } of process?.router.retained.all() ?? []) {
    if (message !== null) held.set(topic, payloadOf(message));
  }
  return held;
}

/** The session that is left has given its client what both had; once, where that was asked for and one alone had it. */
function* queueFaults({ accepted }: JoinStory, { clientId, halves }: Double): Iterable<string> {
  const times = new Map<string, number>();
  const repeated = new Set<string>();
  for (const { actor } of halves) {
    for (const packet of actor.got) {
      if (packet.cmd !== "publish") continue;
      const payload = packet.payload.toString();
      if (packet.dup) repeated.add(payload);
      else times.set(payload, (times.get(payload) ?? 0) + 1);
    }
  }
  // Of one that is repeated the first may never have come.
  for (const payload of repeated) if (!times.has(payload)) times.set(payload, 1);
  for (const { payload, side, qos, isBefore } of accepted) {
    const count = times.get(payload) ?? 0;
    const what = `${payload} (QoS ${qos}) of side ${side}, ${isBefore ? "before" : "while"} they joined`;
    if (count === 0) yield `${clientId} never got ${what}`;
    if (count > 1 && qos === 2 && isBefore) yield `${clientId} got ${what} ${count} times`;
  }
}
