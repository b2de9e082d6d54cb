/**
 * What waits at an origin for some other node: frames of its stream, as they are asked for, and their messages for sessions
 * that are here now. A session's marks drop what it had taken at that node.
 */
import type { Cluster } from "../cluster/cluster.js";
import type { Sent } from "../cluster/outbox.js";
import { type ForwardNumber, isLater } from "../cluster/position.js";
import { originOf } from "../routing/origins.js";
import type { Message } from "../routing/message.js";
import type { Router } from "../routing/router.js";
import type { Subscriber } from "../routing/targets.js";

/** Frames of one answer, together. */
const answerBytes = 256 * 1024;

export const noForward: ForwardNumber = { incarnation: 0, counter: 0 };

export type WaitingFrame = Pick<Sent, "frame" | "expiresMs" | "incarnation">;

export interface WaitingFrames {
  readonly frames: Buffer[];
  /** The number of the last of them. */
  readonly last: ForwardNumber;
  /** Of all that waits now. */
  readonly newest: ForwardNumber;
}

/** Frames that wait here for a node, behind that number, as many as go into one answer. */
export function framesWaiting(
  cluster: Pick<Cluster, "peer">,
  router: Pick<Router, "countDownForward">,
  node: string,
  after: ForwardNumber,
): WaitingFrames {
  const sender = cluster.peer(node)?.sender;
  const frames: Buffer[] = [];
  let last = after;
  let length = 0;
  for (const sent of sender?.waiting() ?? []) {
    if (!isLater(sent, last)) continue;
    if (length > 0 && length + sent.frame.length > answerBytes) break;
    if (sent.expiresMs !== 0) router.countDownForward(sent.frame, sent.expiresMs);
    frames.push(sent.frame);
    length += sent.frame.length;
    last = { incarnation: sent.incarnation, counter: sent.counter };
  }
  return { frames, last, newest: sender?.newest ?? noForward };
}

/** A frame as it came in an answer. */
export function frameOf(bytes: Uint8Array): WaitingFrame {
  const frame = Buffer.from(bytes);
  return { frame, expiresMs: 0, incarnation: frame.readDoubleBE(5) };
}

/** The message is as if it had come over a link from that origin to the node `self`. */
export function setOrigin(message: Message, from: string, incarnation: number, self: string): void {
  const { origin } = message;
  if (origin === null) {
    message.origin = { name: from, incarnation, isStream: true };
    message.identity = message.counter;
    return;
  }
  const full = origin.name.startsWith("/") ? from + origin.name : origin.name;
  const here = full.startsWith(`${self}/`) ? full.slice(self.length) : full;
  message.origin = originOf(here, origin.incarnation);
}

/**
 * Gives it to some of those here that subscribe to it. `takerOf`: who takes it for a subscriber; undefined: nobody. Returns to how
 * many it went.
 */
export function giveTo(
  takerOf: (subscriber: Subscriber) => Subscriber | undefined,
  message: Message,
  router: Pick<Router, "targetsOf">,
): number {
  let count = 0;
  for (const delivery of router.targetsOf(message.topic).local) {
    const taker = takerOf(delivery.subscriber);
    if (taker === undefined) continue;
    if (delivery.noLocal && taker.clientId === message.publisher) continue;
    count++;
    if (!taker.deliver(message, { ...delivery, subscriber: taker })) message.pending++;
  }
  return count;
}
