/** What the users file holds, as text and in memory: names, verifiers and hashes, no password in any form. */
import { z } from "zod";
import {
  formatHash,
  type PasswordHash,
  parseHash,
  type ScryptCost,
  workOf,
} from "./password-hash.js";
import { isPrepared } from "./saslprep.js";
import type { CheckWork, UserSecrets } from "./users.js";
import { keyBytes, type Verifier } from "./verifier.js";

export const iterationsMin = 4096;
export const iterationsMax = 10_000_000;
export const usersMax = 100_000;
const nameBytesMax = 256;

/** What the file held when it was read. */
export interface Content {
  readonly users: ReadonlyMap<string, UserSecrets>;
  readonly standInKey: Buffer;
  /** Most iterations of any user's verifier. */
  readonly iterations: number;
  readonly work: CheckWork;
}

const base64 = (bytes: { readonly min: number; readonly max: number }) =>
  z.base64().transform((text, context): Buffer => {
    const decoded = Buffer.from(text, "base64");
    if (decoded.length < bytes.min || decoded.length > bytes.max) context.addIssue("wrong length");
    return decoded;
  });
const key = base64({ min: keyBytes, max: keyBytes });
const hashSchema = z.string().transform((text, context): PasswordHash => {
  const hash = parseHash(text);
  if (hash !== null) return hash;
  context.addIssue("no hash of a known form");
  return z.NEVER;
});
const userSchema = z
  .strictObject({
    name: z.string().refine((name) => nameProblem(name) === null, "no user name"),
    iterations: z.int().min(iterationsMin).max(iterationsMax).optional(),
    salt: base64({ min: 1, max: 1024 }).optional(),
    stored_key: key.optional(),
    server_key: key.optional(),
    hash: hashSchema.optional(),
  })
  .transform(({ name, iterations, salt, stored_key, server_key, hash = null }, context) => {
    const parts = [iterations, salt, stored_key, server_key];
    const absent = parts.filter((part) => part === undefined).length;
    if (absent !== 0 && (absent !== parts.length || hash === null)) {
      context.addIssue("has neither all of a verifier nor a hash alone");
    }
    const isWhole = iterations !== undefined && salt !== undefined;
    const verifier =
      isWhole && stored_key !== undefined && server_key !== undefined
        ? { iterations, salt, storedKey: stored_key, serverKey: server_key }
        : null;
    return { name, secrets: { verifier, hash } };
  });
const fileSchema = z.strictObject({
  format: z.literal(1),
  /** Makes the answers for names that do not exist; the same on all nodes that share the users. */
  stand_in_key: key,
  users: z.array(userSchema).max(usersMax),
});

/** @throws Error with what is wrong, without quoting the text */
export function decodeUsers(text: string): Content {
  const parsed = fileSchema.safeParse(parseJson(text));
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new Error(`${issue?.path.join(".")}: ${issue?.message}`);
  }
  const users = new Map<string, UserSecrets>();
  for (const { name, secrets } of parsed.data.users) {
    if (users.has(name)) throw new Error(`the user ${JSON.stringify(name)} is there twice`);
    users.set(name, secrets);
  }
  return contentOf(users, parsed.data.stand_in_key);
}

/** `iterations` is that of the stand-ins where no user has a verifier. */
export function contentOf(
  users: ReadonlyMap<string, UserSecrets>,
  standInKey: Buffer,
  iterations = iterationsMin,
): Content {
  let most = iterations;
  for (const { verifier } of users.values()) most = Math.max(most, verifier?.iterations ?? 0);
  return { users, standInKey, iterations: most, work: workOfAll(users.values()) };
}

export function encodeUsers(users: ReadonlyMap<string, UserSecrets>, standInKey: Buffer): string {
  const lines = [...users].map(([name, { verifier, hash }]) => {
    const text = hash === null ? {} : { hash: formatHash(hash) };
    return JSON.stringify({ name, ...verifierFields(verifier), ...text });
  });
  const list = lines.length === 0 ? "[]" : `[\n  ${lines.join(",\n  ")}\n]`;
  const head = `"format": 1,\n"stand_in_key": "${standInKey.toString("base64")}"`;
  return `{\n${head},\n"users": ${list}\n}\n`;
}

export const unpreparedText =
  "has characters that clients could send in another form: use letters, digits, punctuation and plain spaces";

/** A sentence about a name that no user can have; null: it is fine. */
export function nameProblem(name: string): string | null {
  if (name === "") return "the user name is empty";
  if (Buffer.byteLength(name) > nameBytesMax) {
    return `the user name is longer than ${nameBytesMax} bytes`;
  }
  return isPrepared(name) ? null : `the user name ${unpreparedText}`;
}

function verifierFields(verifier: Verifier | null): object {
  if (verifier === null) return {};
  const { iterations, salt, storedKey, serverKey } = verifier;
  return {
    ...{ iterations, salt: salt.toString("base64") },
    stored_key: storedKey.toString("base64"),
    server_key: serverKey.toString("base64"),
  };
}

function workOfAll(all: Iterable<UserSecrets>): CheckWork {
  let scrypt: ScryptCost | null = null;
  let verifierIterations = 0;
  let pbkdf2Iterations = 0;
  for (const { verifier, hash } of all) {
    if (hash === null) {
      verifierIterations = Math.max(verifierIterations, verifier?.iterations ?? 0);
    } else if (hash.kind === "scrypt") {
      if (scrypt === null || workOf(hash.cost) > workOf(scrypt)) scrypt = hash.cost;
    } else if (hash.kind === "mosquitto-pbkdf2") {
      pbkdf2Iterations = Math.max(pbkdf2Iterations, hash.iterations);
    }
  }
  return { scrypt, verifierIterations, pbkdf2Iterations };
}

/** The parser's own message would quote the file. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error("it is no JSON");
  }
}
