/** `users add NAME`: a new user of this node. */
import { argument, command, secret } from "../command.js";
import { printable } from "../render.js";

export const usersAdd = command({
  summary: "add a user to the users file of this node; asks for the password",
  args: { name: argument("the user's name"), password: secret("the user's password") },
  run: async ({ users }, { name, password }) => {
    await users.add(name, password);
    return { added: name };
  },
  text: ({ added }) => `The user ${printable(added)} has been added`,
});
