/** Files of mosquitto_passwd: `name:hash` a line, hashes of `$6$` (SHA-512) and `$7$` (PBKDF2). */
import { Refusal } from "../lib/refusal.js";
import { type PasswordHash, parseHash } from "./password-hash.js";
import { nameProblem } from "./users-content.js";

/**
 * The users in such a file. Later lines of a name win, as they do in mosquitto.
 * @throws Refusal with the number of the line that cannot be taken; it quotes no hash
 */
export function parseMosquittoPasswd(text: string): ReadonlyMap<string, PasswordHash> {
  const users = new Map<string, PasswordHash>();
  for (const [index, whole] of text.split("\n").entries()) {
    const line = whole.trimEnd();
    if (line === "" || line.startsWith("#")) continue;
    const refuse = (why: string): never => {
      throw new Refusal(`line ${index + 1}: ${why}; nothing has been imported`);
    };
    const at = line.indexOf(":");
    if (at < 0) refuse("there is no colon between a name and a hash");
    const name = line.slice(0, at);
    const problem = nameProblem(name);
    if (problem !== null) refuse(problem);
    const hash = parseHash(line.slice(at + 1));
    if (hash === null || hash.kind === "scrypt") {
      refuse("it holds neither a $6$ nor a $7$ hash of mosquitto_passwd");
    } else users.set(name, hash);
  }
  return users;
}
