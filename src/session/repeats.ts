/** Does a message come to a session once more? What does after a crash keeps its number (`Message.origin`). */
import type { Message, Origin } from "../routing/message.js";
import type { Delivery } from "../routing/targets.js";
import { Marks } from "./journal/marks.js";
import type { Session } from "./session.js";

/**
 * Has the session taken this message before? One in memory is not there any more when the forwards of a peer come again
 * because this node was killed; it remembers only what another node may publish again.
 */
export function isRepeat(
  session: Session,
  message: Message,
  origin: Origin,
  delivery: Delivery,
): boolean {
  const { journal } = session;
  if (journal !== null) return journal.marks.isRepeat(message, origin, delivery);
  // Marks of streams came with it from another node, if it has any.
  if (origin.isStream) return session.marks?.isRepeat(message, origin, delivery) ?? false;
  session.marks ??= new Marks();
  if (session.marks.isRepeat(message, origin, delivery)) return true;
  session.marks.note(message, origin, delivery, 0);
  return false;
}
