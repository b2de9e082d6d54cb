/** `clients list`: the clients connected to this node. */
import { command, limitOption } from "../command.js";
import { pageTable } from "../render.js";

export const clientsList = command({
  summary: "list the clients connected to this node",
  args: { limit: limitOption() },
  run: ({ clients }, { limit }) => clients.list(limit),
  text: (page) =>
    pageTable(page, ["client", "user", "address", "version", "connected at"], (client) => [
      client.clientId,
      client.user,
      client.address,
      client.protocolVersion,
      client.connectedAt,
    ]),
});
