/** What clients did and were told, from their own side: the promises that a history has to keep. */
import type { Qos } from "../../../src/protocol/publish.js";
import type { SessionNode } from "./node.js";

/** A publish, by whatever number of packets. */
export interface Sent {
  readonly publisher: string;
  readonly node: string;
  /** The node, and how often it had started then. */
  readonly place: SessionNode;
  readonly life: number;
  /** Counts up per publisher. */
  readonly number: number;
  readonly topic: string;
  readonly qos: Qos;
  /** When its first PUBLISH left. */
  readonly sentMs: number;
  /** Its publisher's session outlives connections: of QoS 2 it is committed before it is published. */
  readonly isCommitted: boolean;
  /** Its node could store nothing, or a moment ago: a client that was not told that it was refused repeats it. */
  readonly mayBeWithheld: boolean;
  /** Its latest PUBLISH: what comes back is of the node that got that one. */
  latest: { readonly node: string; readonly sentMs: number };
  /** All that got a PUBLISH of it. */
  readonly nodes: Set<string>;
  /** PUBACK or PUBREC came. */
  acknowledgedMs: number;
  /** That all have accepted it is in the store of its node: it is not published again. */
  isSettled: boolean;
  /** Nodes where it is by now, and since when: its node saw them up then, itself included, or has been linked since. */
  readonly reachedMs: Map<string, number>;
  /** Nodes that it is about to reach, and since when they are linked. */
  readonly metMs: Map<string, number>;
  /** PUBLISH packets of it. */
  times: number;
  isRefused: boolean;
}

/** A subscription, from SUBSCRIBE on. Times are infinite while they have not come. */
export interface Interest {
  readonly filter: string;
  readonly qos: Qos;
  /** Of a session that outlives its connection. */
  readonly isKept: boolean;
  readonly askedMs: number;
  /** SUBACK came. */
  grantedMs: number;
  /** From here on nothing new is promised. */
  endedMs: number;
  /** Where its session was when it was unsubscribed. */
  endedAt: SessionNode | null;
  /** It is known to be over: nothing that is sent later may come. */
  overMs: number;
  /** Nodes that have learned of it, and when; and those that are about to. */
  readonly knownMs: Map<string, number>;
  readonly metMs: Map<string, number>;
}

/** A session that a younger one takes the place of, and what had been promised to it. */
export interface Legacy {
  readonly node: SessionNode;
  /** When its node died, or was taken for down, and the younger one began. */
  readonly lostMs: number;
  readonly sinceMs: number;
  readonly interests: readonly Interest[];
  /** Messages that had begun to come with QoS 2, and not ended: they may come once more. */
  readonly open: ReadonlySet<string>;
  /** When the younger one asked for its first subscription, and got it. */
  askedMs: number;
  grantedMs: number;
  /** Clean Start, or the end of the younger one: nothing of it is wanted. */
  isVoid: boolean;
  /** When its node was back; infinite: it is not yet. */
  readonly backMs: () => number;
}

export class Ledger {
  readonly sent: Sent[] = [];
  private readonly byPayload = new Map<string, Sent>();

  add(sent: Sent): void {
    this.sent.push(sent);
    this.byPayload.set(payloadOf(sent), sent);
  }

  find(payload: string): Sent | undefined {
    return this.byPayload.get(payload.trimEnd());
  }
}

/**
 * May its node have published it once more, at a start, or who adopted the publisher's session? PUBREC leaves when all have
 * accepted it; that they have is in the store a little later, and a node that dies in between publishes again, also
 * to those who came meanwhile.
 */
export function maybePublishedAgain(sent: Sent): boolean {
  const { qos, isCommitted, isSettled, place, life, sentMs } = sent;
  const hasDied = place.isAdoptable ? place.lastLostMs >= sentMs : place.lives.length > life;
  return qos === 2 && isCommitted && !isSettled && hasDied;
}

export function payloadOf({ publisher, number }: Sent): string {
  return `${publisher} ${number}`;
}

export function inWords(sent: Sent): string {
  const { qos, topic, node, sentMs, acknowledgedMs } = sent;
  return (
    `${payloadOf(sent)} (QoS ${qos}, ${topic}) sent at ${node} at ${sentMs.toFixed(1)} ms, ` +
    `acknowledged at ${acknowledgedMs.toFixed(1)} ms`
  );
}

export function isShared(filter: string): boolean {
  return filter.startsWith("$share/");
}

/** Does the filter match? Naive, for the topics of these histories; a share group's filter counts as itself. */
export function matches(filter: string, topic: string): boolean {
  const plain = isShared(filter) ? filter.split("/").slice(2).join("/") : filter;
  const pattern = plain
    .split("/")
    .map((level) => (level === "+" ? "[^/]*" : level))
    .join("/")
    .replace(/\/#$/, "(/.*)?")
    .replace(/^#$/, ".*");
  return new RegExp(`^${pattern}$`).test(topic);
}
