/** A run of publishes that are alike goes to a client as it came, where nothing has to be known of each of them. */
import type { PublishRun } from "../routing/publish-run.js";
import type { Delivery } from "../routing/targets.js";
import type { Session } from "./session.js";

const idMax = 0xffff;

/** Sends all of a run. False: nothing was done, each is to be delivered by itself (`Session.deliver`). */
export function deliverRun(session: Session, run: PublishRun, delivery: Delivery): boolean {
  const { channel, window, host } = session;
  const { qos, count } = run;
  if (channel === null || channel.congested || session.journal !== null) return false;
  if (delivery.qos < qos || delivery.subscriptionIds !== null || delivery.share !== null)
    return false;
  if (!session.mayReceive(run.topic)) return false;
  if (qos === 0) {
    if (channel.publishRun?.(run, 0) !== true) return false;
    host.counters.sentQos0 += count;
    return true;
  }
  const first = window.nextId;
  if (session.queued > 0 || first + count > idMax || !window.hasRoomFor(count)) return false;
  if (channel.publishRun?.(run, first) !== true) return false;
  window.takeRun(qos, count);
  if (qos === 1) host.counters.sentQos1 += count;
  else host.counters.sentQos2 += count;
  return true;
}
