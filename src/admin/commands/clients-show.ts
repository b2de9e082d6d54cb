/** `clients show CLIENT`: one client's connection to this node. */
import { Refusal } from "../../lib/refusal.js";
import { argument, command } from "../command.js";
import { printable, record } from "../render.js";

export const clientsShow = command({
  summary: "show one client's connection to this node",
  args: { client: argument("a client id") },
  run: ({ clients }, { client }) => {
    const found = clients.show(client);
    if (found !== undefined) return found;
    throw new Refusal(`no client ${printable(client)} is connected to this node`);
  },
  text: record,
});
