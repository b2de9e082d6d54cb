/** `users list`: the users of this node, without anything that helps to find out a password. */
import { command, limitOption } from "../command.js";
import { pageTable } from "../render.js";

export const usersList = command({
  summary: "list the users in the users file of this node",
  args: { limit: limitOption() },
  run: ({ users }, { limit }) => {
    const all = users.list();
    return { total: all.length, items: all.slice(0, limit) };
  },
  text: (page) =>
    pageTable(page, ["user", "hash", "iterations"], ({ name, hash, iterations }) => {
      return [name, hash, iterations];
    }),
});
