/**
 * What waits for a peer, as messages: read from the frames of its stream, for operators, and given to other sessions
 * when an operator says so. What is given elsewhere is a new message of this node with a number of its own: nobody
 * takes it for one that he has had.
 */
import type { Sent } from "../cluster/outbox.js";
import type { ClusterPort } from "../cluster/ports.js";
import {
  counterOf,
  forwardHeaderBytes,
  forwardsHeaderBytes,
  FrameType,
} from "../cluster/wire/frames.js";
import type { Clock } from "../lib/clock.js";
import { countDownForward, decodeForward, encodeForward } from "./forward.js";
import { ForwardsReader, messagesOf } from "./forwards.js";
import type { AcceptanceSink, Message } from "./message.js";
import type { Router } from "./router.js";
import { atFirst, hasShared, readShared, type SharedPart, withShared } from "./shared-forward.js";
import type { TopicTable } from "./topic.js";

/** One message that waits, and the share groups that it is for. */
export interface WaitingMessage {
  readonly message: Message;
  readonly shared: SharedPart | null;
}

const nothing: readonly WaitingMessage[] = [];

/** Reads frames that wait. A frame that makes no sense holds nothing. */
export class OutboxReader {
  private readonly forwards: ForwardsReader;

  constructor(
    private readonly topics: TopicTable,
    private readonly clock: Clock,
  ) {
    this.forwards = new ForwardsReader(topics, clock);
  }

  /** The messages in a frame, with their own bytes, in order; `counter` is the number of each. */
  read({ frame, expiresMs }: Pick<Sent, "frame" | "expiresMs">): readonly WaitingMessage[] {
    if (frame[4] === FrameType.forwards) return this.readRun(frame);
    if (frame[4] === FrameType.forwardsSpread) return this.readSpread(frame);
    if (expiresMs !== 0) countDownForward(frame, expiresMs, this.clock);
    const { length: end } = frame;
    const isForGroups = hasShared(frame, forwardHeaderBytes, end);
    const shared = isForGroups ? readShared(frame, forwardHeaderBytes, end) : null;
    try {
      const rest = shared?.rest ?? end;
      const message = decodeForward(this.topics, frame, forwardHeaderBytes, rest, this.clock);
      message.counter = counterOf(frame);
      message.own();
      return [{ message, shared: shared?.part ?? null }];
    } catch {
      return nothing;
    }
  }

  private readSpread(frame: Buffer): readonly WaitingMessage[] {
    const { forwards } = this;
    return messagesOf(frame, forwards).map((message) => {
      message.own();
      return { message, shared: { ...atFirst, only: true, keys: [forwards.key] } };
    });
  }

  private readRun(frame: Buffer): readonly WaitingMessage[] {
    const { forwards } = this;
    const found: WaitingMessage[] = [];
    let counter = counterOf(frame);
    forwards.open(frame, forwardsHeaderBytes, frame.length);
    for (let message = forwards.next(); message !== null; message = forwards.next()) {
      message.counter = counter++;
      message.own();
      found.push({ message, shared: null });
    }
    return found;
  }
}

/**
 * Gives messages that waited for one peer to the matching sessions of another one; `peer` null: to those of this
 * node. Calls `done` when all are accepted there, or left to the outbox for it, with whether none was refused for want of
 * room in the store. False: there is no room in that outbox, and nothing was given.
 */
export function redirectWaiting(
  waiting: readonly WaitingMessage[],
  peer: number | null,
  { cluster, router, clock }: { cluster: ClusterPort; router: Router; clock: Clock },
  done: (taken: boolean) => void,
): boolean {
  const bytes = waiting.reduce((sum, { message }) => sum + message.size, 0);
  if (peer !== null && !cluster.hasRoom(peer, bytes)) return false;
  let open = 1;
  let refused = false;
  const settle = (): void => {
    if (--open === 0) done(!refused);
  };
  const sink: AcceptanceSink = {
    onAccepted: (message) => {
      if (message.refused !== 0) refused = true;
      settle();
    },
  };
  for (const { message, shared } of waiting) {
    if (message.hasExpired(clock.monotonicMs())) continue;
    message.origin = null;
    message.identity = 0;
    message.counter = cluster.nextCounter();
    message.sink = sink;
    message.pending = 1;
    open++;
    if (peer === null) router.deliverHere(message, shared);
    else {
      const plain = encodeForward(message, message.qos, clock);
      const frame =
        shared === null
          ? plain
          : withShared(
              plain,
              shared,
              shared.keys.map((key) => ({ key })),
            );
      if (cluster.sendNumbered(peer, message.counter, frame, true, message)) message.pending++;
    }
    message.accept();
  }
  settle();
  return true;
}
