/** Says in the log why anonymous clients are refused where nobody has decided it, once for each listener. */
import type { Log } from "../lib/log.js";
import type { ListenerPolicy } from "../session/listener-policy.js";

const told = new WeakSet<ListenerPolicy>();

/** An anonymous client was refused. */
export function tellOfStranger(policy: ListenerPolicy, address: string, log: Log): void {
  if (!policy.closedToStrangers || told.has(policy)) return;
  told.add(policy);
  log.warn(
    { listener: policy.name, address },
    "anonymous clients are refused: this listener is reached from beyond this machine and nobody has said " +
      "that they may come. Add users, or set anonymous: true for it or auth.anonymous: true for all. " +
      "Further refusals are only counted (auth.refused_anonymous)",
  );
}
