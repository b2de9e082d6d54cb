/** `clients list`: the clients connected to this node. */
import { limitOption, listCommand } from "../command.js";

export const clientsList = listCommand({
  summary: "list the clients connected to this node",
  args: { limit: limitOption() },
  list: ({ clients }) => clients.list(),
  headings: ["client", "user", "address", "version", "connected at", "session"],
  row: (client) => [
    client.clientId,
    client.user,
    client.address,
    client.protocolVersion,
    client.connectedAt,
    client.sessionNode ?? "here",
  ],
});
