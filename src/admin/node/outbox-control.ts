/** The outboxes of a node as the commands see them. What a peer that is down has not got is the operator's to dispose of. */
import type { Cluster } from "../../cluster/cluster.js";
import type { Sent } from "../../cluster/outbox.js";
import type { Peer } from "../../cluster/peer.js";
import type { Clock } from "../../lib/clock.js";
import { Refusal } from "../../lib/refusal.js";
import {
  OutboxReader,
  redirectWaiting,
  type WaitingMessage,
} from "../../routing/outbox-messages.js";
import type { Router } from "../../routing/router.js";
import type { OutboxControl, OutboxInfo, WaitingInfo } from "../parts.js";

/** Of one step of a redirection: it is accepted before the next begins. */
const messagesAtOnce = 256;

export function outboxControl(cluster: Cluster, router: Router, clock: Clock): OutboxControl {
  const reader = new OutboxReader(router.topics, clock);
  const redirecting = new Set<string>();
  const peerOf = (node: string): Peer => {
    const peer = cluster.peer(node);
    if (peer !== undefined) return peer;
    throw new Refusal(`${node} is no other member of this cluster: nothing waits for it here`);
  };
  const awayPeer = (node: string): Peer => {
    const peer = peerOf(node);
    if (peer.sender.isAway) return peer;
    throw new Refusal(`${node} is ${cluster.state(node)}: what waits for it is on its way to it`);
  };
  return {
    list: () => {
      const lost = new Set(cluster.members.lost().map(({ name }) => name));
      return cluster.peers().map((peer) => infoOf(cluster, peer, lost.has(peer.name)));
    },
    show: (node, limit, after) => {
      const { sender } = peerOf(node);
      const items: WaitingInfo[] = [];
      for (const sent of sender.waiting()) {
        if (items.length >= limit) break;
        if (after !== undefined && compare(numberOf(sent), after) <= 0) continue;
        for (const waiting of reader.read(sent)) {
          const info = waitingInfo(sent, waiting);
          if (after !== undefined && compare(info.number, after) <= 0) continue;
          if (items.length < limit) items.push(info);
        }
      }
      return { total: sender.length, items };
    },
    discard: (node) => {
      const { sender } = awayPeer(node);
      if (redirecting.has(node)) throw new Refusal(busySentence(node));
      const count = sender.giveUp([...sender.waiting()]);
      sender.counters.outboxDiscarded += count;
      return count;
    },
    redirect: async (node, to) => {
      const target = targetOf(cluster, node, to);
      awayPeer(node);
      if (redirecting.has(node)) throw new Refusal(busySentence(node));
      redirecting.add(node);
      const give = (step: readonly Sent[]): Promise<Outcome> =>
        new Promise((resolve) => {
          const messages = step.flatMap((sent) => reader.read(sent));
          const done = (taken: boolean): void => resolve(taken ? "taken" : "refused");
          const parts = { cluster, router, clock };
          if (!redirectWaiting(messages, target, parts, done)) resolve("full");
        });
      try {
        return await giveAll(() => peerOf(node), to, give);
      } finally {
        redirecting.delete(node);
      }
    },
  };
}

type Outcome = "taken" | "refused" | "full";

/** Step by step: what is accepted at the other node is given up here, and then comes the next. */
async function giveAll(
  peerNow: () => Peer,
  to: string,
  give: (step: readonly Sent[]) => Promise<Outcome>,
): Promise<number> {
  for (let count = 0; ; ) {
    const { sender, name } = peerNow();
    const step = firstOf(sender.waiting());
    if (step.length === 0) return count;
    if (!sender.isAway) throw new Refusal(backSentence(name, count, sender.length));
    const outcome = await give(step);
    if (outcome !== "taken") throw new Refusal(stoppedSentence(outcome, to, count));
    if (!sender.isAway) throw new Refusal(backSentence(name, count, sender.length));
    const given = sender.giveUp(step);
    sender.counters.outboxRedirected += given;
    count += given;
  }
}

/** Null: this node. @throws Refusal when it can take nothing */
function targetOf(cluster: Cluster, node: string, to: string): number | null {
  if (to === node) throw new Refusal(`${node} is where it cannot go: name another node`);
  if (to === cluster.name) return null;
  const peer = cluster.peer(to);
  if (peer !== undefined && cluster.state(to) === "up") return peer.index;
  throw new Refusal(`${to} is no member that is up: nothing can be given to it`);
}

function infoOf(cluster: Cluster, { name, sender, link }: Peer, lostData: boolean): OutboxInfo {
  const { length: messages, heldBytes: bytes, oldestMs } = sender;
  const oldest = messages === 0 || oldestMs === 0 ? null : isoOf(oldestMs);
  const state = cluster.state(name);
  return { node: name, state, messages, bytes, oldest, drains: link !== null, lostData };
}

function firstOf(waiting: Iterable<Sent>): Sent[] {
  const step: Sent[] = [];
  let messages = 0;
  for (const sent of waiting) {
    if (messages > 0 && messages + sent.count > messagesAtOnce) break;
    step.push(sent);
    messages += sent.count;
  }
  return step;
}

const isoOf = (ms: number): string => new Date(ms).toISOString();

/** Of the last in a frame. */
const numberOf = ({ incarnation, counter }: Sent): string => `${incarnation}-${counter}`;

function waitingInfo(sent: Sent, { message, shared }: WaitingMessage): WaitingInfo {
  const { topic, qos, counter, payloadLength: bytes, publisher } = message;
  const number = `${sent.incarnation}-${counter}`;
  const since = sent.sinceMs === 0 ? null : isoOf(sent.sinceMs);
  return { number, topic: topic.name, qos, bytes, publisher, since, groups: shared?.keys ?? [] };
}

/** Numbers as they are shown, in their order. @throws Refusal when one is none */
function compare(a: string, b: string): number {
  const [[firstA, secondA], [firstB, secondB]] = [partsOf(a), partsOf(b)];
  return firstA - firstB || secondA - secondB;
}

function partsOf(number: string): [number, number] {
  const match = /^(\d{1,16})-(\d{1,16})$/.exec(number);
  if (match === null) {
    throw new Refusal(`"${number}" is no number of a message: take one that outbox show prints`);
  }
  return [Number(match[1]), Number(match[2])];
}

const busySentence = (node: string): string =>
  `what waits for ${node} is just being given to another node: try again when that is over`;

const backSentence = (node: string, count: number, left: number): string =>
  `${node} is back: ${count} messages were given away, the other ${left} go to it`;

function stoppedSentence(why: "refused" | "full", to: string, count: number): string {
  const reason =
    why === "full" ? `the outbox for ${to} is full` : "the store takes nothing at the moment";
  return `${count} messages were given to ${to}, then it stopped: ${reason}; the others still wait`;
}
