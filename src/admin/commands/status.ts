/** `status`: the cluster as this node sees it. */
import { command } from "../command.js";
import { json } from "../render.js";

export const status = command({
  summary: "show the cluster as this node sees it",
  args: {},
  run: ({ cluster }) => cluster.status(),
  text: json,
});
