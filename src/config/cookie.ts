/**
 * The cookie: the secret that all nodes of a cluster share. The file is made once, complete and
 * readable by its owner only; two nodes that start at once agree on one cookie.
 */
import { linkSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import type { Random } from "../lib/random.js";
import { Refusal } from "../lib/refusal.js";

const lengthMin = 32;
const freshBytes = 32;

/**
 * The cookie given in the environment, else the one in `file`, which is made when it does not exist.
 * @throws Refusal when others can read the file, or the cookie is too short to be a secret
 */
export function readCookie(
  file: string,
  fromEnvironment: string | undefined,
  random: Random,
): string {
  if (fromEnvironment !== undefined) return checkLength(fromEnvironment.trim(), "BROKER_COOKIE");
  try {
    return readFile(file) ?? create(file, random);
  } catch (error) {
    if (error instanceof Refusal) throw error;
    throw new Refusal(`the cookie file ${file} cannot be used: ${String(error)}`);
  }
}

function readFile(file: string): string | undefined {
  const status = statSync(file, { throwIfNoEntry: false });
  if (status === undefined) return undefined;
  if ((status.mode & 0o077) !== 0) {
    const mode = (status.mode & 0o777).toString(8).padStart(4, "0");
    throw new Refusal(
      `the cookie file ${file} can be read by others (mode ${mode}): run \`chmod 600 ${file}\``,
    );
  }
  return checkLength(readFileSync(file, "utf8").trim(), `the cookie in ${file}`);
}

/** Writes beside the file and links it into place: nobody ever sees half a cookie, and one wins. */
function create(file: string, random: Random): string {
  mkdirSync(dirname(file), { recursive: true });
  const draft = `${file}.${random.bytes(8).toString("hex")}`;
  writeFileSync(draft, `${random.bytes(freshBytes).toString("hex")}\n`, {
    mode: 0o600,
    flag: "wx",
  });
  try {
    linkSync(draft, file);
  } catch (error) {
    const exists = error instanceof Error && "code" in error && error.code === "EEXIST";
    if (!exists) throw error;
  } finally {
    rmSync(draft);
  }
  const cookie = readFile(file);
  if (cookie === undefined) throw new Refusal(`the cookie file ${file} vanished while it was made`);
  return cookie;
}

function checkLength(cookie: string, what: string): string {
  if (cookie.length >= lengthMin) return cookie;
  throw new Refusal(`${what} has ${cookie.length} characters, at least ${lengthMin} are needed`);
}
