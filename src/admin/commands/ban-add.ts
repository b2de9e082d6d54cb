/** `ban add KIND WHAT`: keeps a client id, a user, an address or a network out of the whole cluster. */
import { parseDuration } from "../../config/units.js";
import { argument, banKindArgument, command, textOption, WrongUsage } from "../command.js";
import { printable } from "../render.js";

export const banAdd = command({
  summary: "ban a client id, a user, an address or a network from the whole cluster",
  args: {
    kind: banKindArgument(),
    what: argument("a client id, a user, an address, or a network as 10.0.0.0/8"),
    for: textOption("how long, as 30m, 12h or 7d; for good when left out"),
    reason: textOption("why, for `ban list`; clients do not see it"),
  },
  run: ({ bans }, { kind, what, for: duration, reason }) => {
    const durationMs = duration === undefined ? 0 : parseDuration(duration);
    if (durationMs === undefined || (duration !== undefined && durationMs === 0)) {
      throw new WrongUsage(`for: ${JSON.stringify(duration)} is no duration such as 30m, 12h, 7d`);
    }
    return bans.add(kind, what, durationMs, reason ?? "");
  },
  text: ({ kind, what, ends }) =>
    `The ${kind} ${printable(what)} has been banned${ends === null ? "" : ` until ${ends}`}`,
});
