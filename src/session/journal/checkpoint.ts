/**
 * A checkpoint: everything of a session that its log says, up to some record, except the messages themselves. What is
 * older is then needed only where it holds messages that are due.
 */
import type { Session } from "../session.js";
import { Awaiting } from "../window.js";
import type { SessionJournal } from "./journal.js";
import { Event, LogWriter } from "./log-record.js";

export const checkpointKey = "checkpoint";

/** The checkpoint of a session as it is now; `through`: the number of the last record that it covers. */
export function checkpointOf(session: Session, journal: SessionJournal, through: number): Buffer {
  const writer = new LogWriter();
  writer.begin(journal.nextSeq);
  writer.event(Event.Through, through, 1);
  writeQueue(session, writer);
  writeWindow(session, writer);
  for (const [packetId, message] of session.openPublishes()) {
    if (message === null) writer.event(Event.Open, packetId, 1);
    else writer.opened(packetId, message, journal.journals.wallOffsetMs());
  }
  journal.marks.writeAll(writer);
  return writer.take();
}

function writeQueue({ pages }: Session, writer: LogWriter): void {
  let first = 0;
  let count = 0;
  for (const seq of pages?.seqs() ?? []) {
    if (count > 0 && seq === first + count) {
      count++;
      continue;
    }
    if (count > 0) writer.event(Event.Waiting, first, count);
    first = seq;
    count = 1;
  }
  if (count > 0) writer.event(Event.Waiting, first, count);
}

function writeWindow({ window }: Session, writer: LogWriter): void {
  for (const id of window.ids()) {
    const state = window.stateOf(id);
    // One that waits for PUBCOMP needs no message; its place among the ids is what counts.
    if (state === Awaiting.Pubcomp) writer.sent(2, id, 0);
    else writer.sent(state === Awaiting.Puback ? 1 : 2, id, window.seqOf(id));
  }
  for (const id of window.released()) writer.event(Event.Received, id, 1);
  writer.event(Event.NextId, window.nextId, 1);
}
