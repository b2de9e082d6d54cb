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
  /** When this node had it first. */
  readonly sinceMs: number;
  holders: readonly string[];
  /** Holders before those, which have not said that they hold it no more. */
  former: readonly string[];
  /** The holders have said that they have it, and with that nothing older. */
  isHeld: boolean;
  /** Its session was adopted by another node, where its client may come back while it waits. */
  readonly isElsewhere: boolean;
}

/** The will of one connection. */
export interface WillOf {
  readonly clientId: string;
  readonly epoch: number;
  /** It is void if the client has come back before it is due. */
  readonly waits?: boolean;
}

/** The will of a session of another node that lives. */
export interface Held {
  readonly owner: string;
  readonly incarnation: number;
  readonly epoch: number;
  readonly will: Uint8Array;
  /** Its session was adopted from its owner, which has the will still: see `Own`. */
  readonly isElsewhere?: boolean;
}

/** The will of a session whose node is dead or silent, at its home. */
export interface Inherited extends Held {
  readonly dueMs: number;
  /** Its owner has let go of it for good. */
  readonly entrusted: boolean;
  /** It waited while some members were silent: not its holders alone may know that it is settled. */
  isDoubtful: boolean;
  timer: Timer | undefined;
  /** Waits for its publication to be accepted; null: it has not begun. */
  publishing: (() => void)[] | null;
  /** Who heard that this node was about to publish it. */
  readonly told: Set<string>;
}

/** A will of our own that is due, while we may be on the smaller side. */
export interface Due extends WillOf {
  readonly done: (isOurs: boolean) => void;
  /** Others may have published it while they did not hear this node: all who may know are to be asked. */
  isDoubtful: boolean;
}

/** How the holders of wills ask each other. */
export class Asking {
  constructor(
    private readonly network: Pick<WillNetwork, "self" | "clock" | "ask" | "live">,
    private readonly onLate: () => void,
  ) {}

  /** The answer, or null when none comes in time. */
  async one(node: string, question: Question): Promise<Uint8Array | null> {
    const { clock } = this.network;
    let timer: Timer | undefined;
    const late = new Promise<null>((resolve) => {
      timer = clock.setTimer(answerMs, () => {
        this.onLate();
        resolve(null);
      });
    });
    const answer = await Promise.race([this.network.ask(node, encodeQuestion(question)), late]);
    clock.clearTimer(timer);
    return answer;
  }

  /** Gives that node a will to publish. Resolves with whether it has it. */
  async inherit(
    node: string,
    clientId: string,
    { owner, incarnation, epoch, will }: Held,
    agoMs: number,
    entrusted: boolean,
    doubtful: boolean,
  ): Promise<boolean> {
    const wills = [{ clientId, epoch, will }];
    const about = { owner, incarnation, agoMs, entrusted, doubtful };
    return (await this.one(node, { kind: "inherit", ...about, wills })) !== null;
  }

  /** The answers of all that are up or suspect. */
  all(question: Question): Promise<Map<string, Uint8Array | null>> {
    const others = this.network.live().filter((name) => name !== this.network.self);
    return this.some(others, question);
  }

  async some(
    names: readonly string[],
    question: Question,
  ): Promise<Map<string, Uint8Array | null>> {
    const answers = await Promise.all(names.map((name) => this.one(name, question)));
    return new Map(names.map((name, index) => [name, answers[index] ?? null]));
  }
}

/** The oldest goes when there are too many. */
export function setBounded<V>(
  map: Map<string, V>,
  key: string,
  value: V,
  onDropped?: (dropped: V) => void,
): void {
  if (map.size >= settledMax && !map.has(key)) {
    const [oldest] = map;
    if (oldest !== undefined) {
      map.delete(oldest[0]);
      onDropped?.(oldest[1]);
    }
  }
  map.set(key, value);
}
