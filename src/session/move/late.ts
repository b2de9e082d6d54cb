/**
 * What a session took at its old owner after its state had left: all that is for itself came to the new owner too, but what
 * came to it as a member of a share group came to nobody else, and goes to another member [MQTT-4.8.2-5].
 */
import { isShared } from "../../protocol/topics.js";
import type { Message } from "../../routing/message.js";
import type { Delivery } from "../../routing/targets.js";
import { nameGiven } from "../given.js";
import type { SessionJournal } from "../journal/journal.js";
import { SessionQueue } from "../queue.js";
import type { Session } from "../session.js";

/** Where the state ends that was given away. */
export interface LateMark {
  /** With a journal: the number of the first message that came later. */
  readonly nextSeq: number;
  /** Without: the message that came last before it; null: none did. */
  readonly last: Message | null;
}

/** When the store could not be read, it is asked again after so long. */
const readAgainMs = 1000;

/** Leaves the groups, and hands on what came late. `done` when those who have it now have accepted it. */
export function giveLate(session: Session, mark: LateMark, done: () => void): void {
  const { host, subscriptions, journal } = session;
  if (!session.hadShared) {
    done();
    return;
  }
  for (const filter of subscriptions.keys()) {
    if (isShared(filter)) host.router.unsubscribe(session, filter);
  }
  const late = new Late(session, done);
  if (journal === null) {
    late.giveFromMemory(mark.last);
    late.end();
  } else session.whenDurable(() => void late.giveFrom(journal, mark.nextSeq));
}

class Late {
  /** One for the reading itself. */
  private open = 1;

  constructor(
    private readonly session: Session,
    private readonly done: () => void,
  ) {}

  giveFromMemory(last: Message | null): void {
    const { queue } = this.session;
    if (!(queue instanceof SessionQueue)) return;
    const entries = [...queue.entries()];
    const from = entries.findIndex(([message]) => message === last) + 1;
    for (const [message, delivery] of entries.slice(from)) this.give(message, delivery);
  }

  async giveFrom(journal: SessionJournal, nextSeq: number): Promise<void> {
    const { pages } = this.session;
    const isLate = (seq: number): boolean => seq >= nextSeq && (pages?.holds(seq) ?? false);
    const found: [Message, Delivery][] = [];
    const isRead = await journal.journals.pages.visit(
      journal,
      isLate,
      () => true,
      (seq, message, delivery) => {
        nameGiven(journal, message, seq);
        found.push([message, delivery]);
      },
    );
    if (!isRead) {
      const { clock } = journal.journals.parts;
      clock.setTimer(readAgainMs, () => void this.giveFrom(journal, nextSeq));
      return;
    }
    for (const [message, delivery] of found) this.give(message, delivery);
    this.end();
  }

  /** One that it waits for is accepted, or there is nothing more to give. */
  end(): void {
    if (--this.open === 0) this.done();
  }

  private give(message: Message, { share }: Delivery): void {
    if (share === null) return;
    this.open++;
    const waiter = { expiresMs: message.expiresMs, accept: () => this.end() };
    // Nobody else is in the group any more, or may have it.
    if (!this.session.host.router.redispatch(message, share, false, waiter)) this.end();
  }
}
