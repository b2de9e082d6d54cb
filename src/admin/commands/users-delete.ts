/** `users delete NAME`: takes a user out of the users file; its connections stay until they end. */
import { argument, command } from "../command.js";
import { printable } from "../render.js";

export const usersDelete = command({
  summary: "take a user out of the users file of this node; its connections stay",
  args: { name: argument("the user's name") },
  run: async ({ users }, { name }) => {
    await users.delete(name);
    return { deleted: name };
  },
  text: ({ deleted }) => `The user ${printable(deleted)} has been deleted`,
});
