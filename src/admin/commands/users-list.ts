/** `users list`: the users of this node, without anything that helps to find out a password. */
import { limitOption, listCommand } from "../command.js";

export const usersList = listCommand({
  summary: "list the users in the users file of this node",
  args: { limit: limitOption() },
  list: ({ users }) => users.list(),
  headings: ["user", "hash", "iterations"],
  row: ({ name, hash, iterations }) => [name, hash, iterations],
});
