/** What the holders of wills (will-holders.ts) keep, and how they ask each other. */
import type { Timer } from "../lib/clock.js";
import type { WillNetwork } from "./will-parts.js";
import { encodeQuestion, type Question } from "./will-wire.js";

/** Most notes of settled wills. */
const settledMax = 1_000_000;
/** A holder that does not answer keeps nobody waiting longer than this. */
const answerMs = 2000;

/** The will of a session of this node. */
export interface Own {
  readonly epoch: number;
  readonly will: Uint8Array;
  holders: readonly string[];
}

/** The will of a session of another node that lives. */
export interface Held {
  readonly owner: string;
  readonly incarnation: number;
  readonly epoch: number;
  readonly will: Uint8Array;
}

/** The will of a session whose node is dead or silent, at its home. */
export interface Inherited extends Held {
  readonly dueMs: number;
  /** Its owner has let go of it for good. */
  readonly entrusted: boolean;
  timer: Timer | undefined;
  /** Waits for its publication to be accepted; null: it has not begun. */
  publishing: (() => void)[] | null;
}

/** What of a will is not inherited any more: all that was held for earlier processes of its owner. */
export interface Returned {
  readonly epoch: number;
  /** Infinite: until its owner has it held again. */
  readonly before: number;
}

/** A will of our own that is due, while we may be on the smaller side. */
export interface Due {
  readonly clientId: string;
  readonly epoch: number;
  readonly done: (isOurs: boolean) => void;
  /** This node was on the smaller side: the larger one may have published it, and whoever knows is to be asked. */
  wasSmaller: boolean;
}

/** The answer, or null when none comes in time, which `onLate` is told. */
export async function askInTime(
  network: Pick<WillNetwork, "clock" | "ask">,
  node: string,
  question: Question,
  onLate: () => void,
): Promise<Uint8Array | null> {
  const { clock } = network;
  let timer: Timer | undefined;
  const late = new Promise<null>((resolve) => {
    timer = clock.setTimer(answerMs, () => {
      onLate();
      resolve(null);
    });
  });
  const answer = await Promise.race([network.ask(node, encodeQuestion(question)), late]);
  clock.clearTimer(timer);
  return answer;
}

/** The oldest goes when there are too many. */
export function setBounded<V>(map: Map<string, V>, key: string, value: V): void {
  if (map.size >= settledMax && !map.has(key)) {
    const [oldest] = map.keys();
    if (oldest !== undefined) map.delete(oldest);
  }
  map.set(key, value);
}
