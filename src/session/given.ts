/**
 * What a message is known by that a session gives to another member of its share group: when its node dies before that is over, the
 * session gives it again, and who took it knows it. One that came under a number keeps that; any other has the session's.
 */
import { hashString } from "../lib/hash.js";
import type { Message } from "../routing/message.js";
import { givenOrigin, originKind } from "../routing/origins.js";
import type { SessionJournal } from "./journal/journal.js";

/** So many numbers of a session are told apart, which leaves 32 bits for the session's client id. */
const seqs = 2 ** 21;

/** Gives a message that the journal has under that number the origin that it is known by, now and after a crash. */
export function nameGiven({ session, marks }: SessionJournal, message: Message, seq: number): void {
  marks.restoreOrigin(message, seq);
  const { origin, qos } = message;
  if (qos < 2 || (origin !== null && originKind(origin) !== null)) return;
  message.origin = { name: givenOrigin, incarnation: session.epoch };
  message.identity = givenIdentity(session.clientId, seq);
}

/** The identity under `givenOrigin` of the message that a session's journal has under that number. */
export function givenIdentity(clientId: string, seq: number): number {
  return hashString(clientId) * seqs + (seq % seqs);
}
