/** `users import FILE`: the users of a file of mosquitto_passwd; those that exist stay as they are. */
import { command, fileArgument } from "../command.js";

export const usersImport = command({
  summary: "add the users of a file of mosquitto_passwd, with the passwords that they have there",
  args: { file: fileArgument("a file of mosquitto_passwd, with hashes of $6$ or $7$") },
  run: ({ users }, { file }) => users.importMosquitto(file),
  text: ({ imported, existing }) => {
    const rest = existing === 0 ? "" : `; ${existing} that exist already stay as they are`;
    return `${imported} users have been imported${rest}`;
  },
});
