/** `listeners`: where this node accepts clients and links. */
import { command } from "../command.js";
import { table } from "../render.js";

export const listeners = command({
  summary: "list where this node accepts clients and links",
  args: {},
  run: (parts) => ({ listeners: parts.listeners() }),
  text: (result) =>
    table(
      ["kind", "address", "port", "connections"],
      result.listeners.map(({ kind, address, port, connections }) => [
        kind,
        address,
        port,
        connections,
      ]),
    ),
});
