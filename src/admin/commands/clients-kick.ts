/** `clients kick CLIENT`: disconnects a client; a persistent session stays. */
import { Refusal } from "../../lib/refusal.js";
import { argument, command } from "../command.js";
import { printable } from "../render.js";

export const clientsKick = command({
  summary: "disconnect a client from this node",
  args: { client: argument("a client id") },
  run: ({ clients }, { client }) => {
    if (clients.kick(client)) return { kicked: client };
    throw new Refusal(`no client ${printable(client)} is connected to this node`);
  },
  text: ({ kicked }) => `The client ${printable(kicked)} has been disconnected`,
});
