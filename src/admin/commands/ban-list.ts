/** `ban list`: who is banned from the cluster. */
import { command, limitOption } from "../command.js";
import { pageTable } from "../render.js";

export const banList = command({
  summary: "list the bans of the cluster",
  args: { limit: limitOption() },
  run: ({ bans }, { limit }) => bans.list(limit),
  text: (page) =>
    pageTable(page, ["kind", "what", "since", "until", "reason"], (ban) => [
      ...[ban.kind, ban.what, ban.since, ban.ends ?? "deleted", ban.reason],
    ]),
});
