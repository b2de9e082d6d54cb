/** `sessions list`: the sessions that live in this node. */
import { limitOption, listCommand } from "../command.js";

export const sessionsList = listCommand({
  summary: "list the sessions that live in this node",
  args: { limit: limitOption() },
  list: ({ sessions }) => sessions.list(),
  headings: ["client", "connected", "expiry", "subscriptions", "queued", "in flight"],
  row: (session) => [
    session.clientId,
    session.connectionNode ?? (session.connected ? "yes" : "no"),
    `${Math.round(session.expiryMs / 1000)}s`,
    session.subscriptions,
    session.queued,
    session.inflight,
  ],
});
