/** `ban delete KIND WHAT`: lets somebody in again. */
import { argument, banKindArgument, command } from "../command.js";
import { printable } from "../render.js";

export const banDelete = command({
  summary: "delete a ban, in the whole cluster",
  args: { kind: banKindArgument(), what: argument("what was banned") },
  run: async ({ bans }, { kind, what }) => ({ kind, deleted: await bans.delete(kind, what) }),
  text: ({ kind, deleted }) => `The ban of the ${kind} ${printable(deleted)} has been deleted`,
});
