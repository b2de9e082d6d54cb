/**
 * QoS 2 messages of persistent sessions' clients, which are published only after they are committed: in the order of
 * their identities over the whole node, so that whoever takes them needs to remember the highest alone to
 * know a repeat after a crash.
 */
import { Ring } from "../../lib/ring.js";
import type { Message, Origin } from "../../routing/message.js";
import { committedOrigin } from "../../routing/origins.js";

/** Name of the origin in marks: no node has it, as the names of nodes hold an "@". */
export const qos2Origin = committedOrigin;

export interface CommittedPublish {
  readonly message: Message;
  isCommitted: boolean;
  /** Its session is gone before the commit: it is not published. */
  isDropped: boolean;
}

export class CommittedPublishes {
  private readonly waiting = new Ring<CommittedPublish>();
  private next = 0;
  private own: Origin | null = null;
  private isPublishing = false;
  private isHeld = false;

  constructor(
    private readonly publish: (message: Message) => void,
    private readonly origin: () => Origin,
  ) {}

  /** Messages that wait for their commit. */
  get length(): number {
    return this.waiting.length;
  }

  /** Gives a message its identity; `isCommitted` is to be set later, and `proceed` called. */
  add(message: Message): CommittedPublish {
    this.own ??= this.origin();
    message.origin = this.own;
    message.identity = ++this.next;
    message.pending = 1;
    const entry = { message, isCommitted: false, isDropped: false };
    this.waiting.push(entry);
    return entry;
  }

  /** Publishes what is committed and has nothing uncommitted before it. */
  proceed(): void {
    // A publish may commit nothing by itself, but its acceptance may lead back here.
    if (this.isPublishing || this.isHeld) return;
    this.isPublishing = true;
    for (let first = this.waiting.peek(); first?.isCommitted; first = this.waiting.peek()) {
      this.waiting.shift();
      if (!first.isDropped) this.publishNow(first.message);
    }
    this.isPublishing = false;
  }

  /**
   * At start, when an earlier process has left some: nothing new is published before those are. Sessions here may serve
   * clients that are connected elsewhere by then, and who took a newer one would take an older one for a repeat.
   */
  hold(): void {
    this.isHeld = true;
  }

  /** At start: publishes what an earlier process has left, in the order of its identities, and then what waited for that. */
  publishLeft(messages: readonly Message[]): void {
    for (const message of messages) this.publishNow(message);
    this.isHeld = false;
    this.proceed();
  }

  /** Publishes one again, under the identity that it has. */
  publishNow(message: Message): void {
    this.publish(message);
    if (message.pending === 0) message.sink?.onAccepted(message);
  }
}
