/** Attaching a connection to a session with a journal: CONNACK says nothing that is not durable, and what is in flight is at hand. */
import { ReasonCode } from "../protocol/reason-codes.js";
import type { SessionJournal } from "./journal/journal.js";
import type { Opening } from "./opening.js";
import type { Session } from "./session.js";

interface AttachHost {
  get(clientId: string): Session | undefined;
  /** The session for this connection has to be looked for anew. */
  open(opening: Opening): void;
  attach(opening: Opening, session: Session, isNew: boolean): void;
  /** Nobody attaches to it. */
  leave(opening: Opening, session: Session, isNew: boolean): void;
}

/** Attaches it when that is so, refuses it with 0x88 while the store takes nothing, or ends it for a younger one. */
export function attachStored(
  host: AttachHost,
  opening: Opening,
  session: Session,
  journal: SessionJournal,
  isNew: boolean,
): void {
  const { channel, epoch, done } = opening;
  const superseded = (): void => {
    // A newer connection of the client has come for the session.
    done({ session: null, reason: 0 });
    host.leave(opening, session, false);
  };
  if (session.epoch > epoch) {
    superseded();
    return;
  }
  session.epoch = session.connectedEpoch = epoch;
  if (isNew) journal.noteMeta();
  if (journal.journals.stalled !== null) {
    // It would have to wait for nobody knows how long.
    done({ session: null, reason: ReasonCode.ServerUnavailable });
    host.leave(opening, session, isNew);
    return;
  }
  const attach = (isLoaded: boolean): void => {
    const { isFenced } = journal;
    if (!channel.isOpen) host.leave(opening, session, isNew && session.epoch === epoch);
    else if (session.epoch > epoch) superseded();
    // It has expired, or an operator has ended it. With the same claim it would be fenced again.
    else if (!isFenced && host.get(session.clientId) !== session) host.open(opening);
    else if (isLoaded && !isFenced && !journal.journals.stalled)
      host.attach(opening, session, isNew);
    else {
      done({ session: null, reason: ReasonCode.ServerUnavailable });
      host.leave(opening, session, isNew);
    }
    journal.attachEnds();
  };
  journal.attachBegins();
  const load = (): void => {
    if (session.window.anyUnloaded) void journal.journals.pages.loadWindow(journal).then(attach);
    else attach(true);
  };
  if (journal.isClean) load();
  else session.whenDurable(load);
}
