/** `ban list`: who is banned from the cluster. */
import { limitOption, listCommand } from "../command.js";

export const banList = listCommand({
  summary: "list the bans of the cluster",
  args: { limit: limitOption() },
  list: ({ bans }) => bans.list(),
  headings: ["kind", "what", "since", "until", "reason"],
  row: (ban) => [ban.kind, ban.what, ban.since, ban.ends ?? "deleted", ban.reason],
});
