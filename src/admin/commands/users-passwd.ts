/** `users passwd NAME`: another password for a user of this node; connections stay. */
import { argument, command, secret } from "../command.js";
import { printable } from "../render.js";

export const usersPasswd = command({
  summary: "give a user of this node another password; asks for it",
  args: { name: argument("the user's name"), password: secret("the new password") },
  run: async ({ users }, { name, password }) => {
    await users.setPassword(name, password);
    return { changed: name };
  },
  text: ({ changed }) => `The user ${printable(changed)} has another password now`,
});
