/**
 * What happened to one session since the last commit began: gathered here, written as one record, and kept until the
 * commit is over, when those who waited for it are told. Idle sessions have none.
 */
import type { Message } from "../../routing/message.js";
import type { Delivery } from "../../routing/targets.js";
import { EventList, LogWriter } from "./log-record.js";
import type { CommittedPublish } from "./committed-publishes.js";

/** Answers that leave when the commit is over, with a packet id. */
export const Answer = { Publish: 0, Pubrel: 1, Pubcomp: 2 } as const;

/** A record that is finished before the commit begins, because it is long enough. */
export interface FinishedRecord {
  readonly number: number;
  readonly bytes: Buffer;
}

const idBits = 0x10000;

/** Has answers sent to the client. */
export interface AnswerTaker {
  /** `kind`: one of `Answer`. */
  giveAnswer(kind: number, packetId: number): void;
}

export class Batch {
  readonly writer = new LogWriter();
  readonly events = new EventList();
  /** Messages that are in memory as well: written when the commit begins, unless they are done with by then. */
  readonly fresh: (Message | null)[] = [];
  readonly freshDeliveries: Delivery[] = [];
  /** Number of the body record of each; 0: the log itself. */
  readonly freshBodies: number[] = [];
  /** The number of the first of them. */
  freshFirst = 0;
  finished: FinishedRecord[] = [];
  /** Length of a record that holds nothing yet; -1: none has begun. */
  emptyLength = -1;
  /** Messages that this session accepts with the commit. */
  readonly accepts: Message[] = [];
  /** Incoming QoS 2 messages, to be published after the commit. */
  readonly opened: CommittedPublish[] = [];
  private readonly answers: number[] = [];

  answer(kind: number, packetId: number): void {
    this.answers.push(kind * idBits + packetId);
  }

  /** The connection is gone for which they were. */
  dropAnswers(): void {
    this.answers.length = 0;
  }

  /** Tells each answer, in order. */
  giveAnswers(to: AnswerTaker): void {
    const { answers } = this;
    for (let i = 0; i < answers.length; i++) {
      const answer = answers[i] as number; // below length
      to.giveAnswer(Math.floor(answer / idBits), answer % idBits);
    }
    answers.length = 0;
  }

  clear(): void {
    this.writer.clear();
    this.events.clear();
    this.fresh.length = this.freshDeliveries.length = this.freshBodies.length = 0;
    this.finished = [];
    this.emptyLength = -1;
    this.accepts.length = this.opened.length = this.answers.length = 0;
  }
}

/** Batches that nobody uses. */
export class BatchPool {
  private readonly free: Batch[] = [];

  take(): Batch {
    return this.free.pop() ?? new Batch();
  }

  give(batch: Batch): void {
    batch.clear();
    if (this.free.length < freeMax) this.free.push(batch);
  }
}

const freeMax = 256;
