/** `sessions list`: the sessions that live in this node. */
import { command, limitOption } from "../command.js";
import { pageTable } from "../render.js";

export const sessionsList = command({
  summary: "list the sessions that live in this node",
  args: { limit: limitOption() },
  run: ({ sessions }, { limit }) => sessions.list(limit),
  text: (page) =>
    pageTable(
      page,
      ["client", "connected", "expiry", "subscriptions", "queued", "in flight"],
      (session) => [
        session.clientId,
        session.connected ? "yes" : "no",
        `${Math.round(session.expiryMs / 1000)}s`,
        session.subscriptions,
        session.queued,
        session.inflight,
      ],
    ),
});
