/**
 * Hashes of passwords: our own (scrypt), and those of mosquitto_passwd, which are checked as they are. Each
 * has a text form, which is what files hold.
 */
import { createHash, pbkdf2, scrypt, timingSafeEqual } from "node:crypto";
import { z } from "zod";
import { scryptLimits } from "../config/auth-methods.js";

/** Work and memory of scrypt (RFC 7914): 128 * 2^costExponent * blockSize bytes, `parallelism` times. */
export interface ScryptCost {
  readonly costExponent: number;
  readonly blockSize: number;
  readonly parallelism: number;
}

export interface ScryptHash {
  readonly kind: "scrypt";
  readonly cost: ScryptCost;
  readonly salt: Buffer;
  readonly key: Buffer;
}

/** `$6$` of mosquitto_passwd: SHA-512 of password and salt, once. */
interface Sha512Hash {
  readonly kind: "mosquitto-sha512";
  readonly salt: Buffer;
  readonly key: Buffer;
}

/** `$7$` of mosquitto_passwd: PBKDF2 with SHA-512. */
interface Pbkdf2Hash {
  readonly kind: "mosquitto-pbkdf2";
  readonly iterations: number;
  readonly salt: Buffer;
  readonly key: Buffer;
}

export type PasswordHash = ScryptHash | Sha512Hash | Pbkdf2Hash;

export const hashSaltBytes = 16;
const scryptKeyBytes = 32;
const sha512Bytes = 64;
const saltBytesMax = 1024;
const pbkdf2IterationsMax = 10_000_000;

/** Hashes a password by scrypt. The work is done outside of the event loop. */
export async function hashPassword(
  password: Buffer,
  salt: Buffer,
  cost: ScryptCost,
): Promise<ScryptHash> {
  return { kind: "scrypt", cost, salt, key: await scryptKey(password, salt, cost) };
}

/** Whether this is the password of the hash. It takes as long for a wrong one. */
export async function hashMatches(hash: PasswordHash, password: Buffer): Promise<boolean> {
  return timingSafeEqual(await keyOf(hash, password), hash.key);
}

/** Does the work of one scrypt, for a password that is compared with nothing. */
export async function spendScrypt(password: Buffer, cost: ScryptCost): Promise<void> {
  await scryptKey(password, Buffer.alloc(hashSaltBytes), cost);
}

/** Does the work of one PBKDF2 with SHA-512. */
export async function spendPbkdf2(password: Buffer, iterations: number): Promise<void> {
  await pbkdf2Key(password, Buffer.alloc(hashSaltBytes), iterations);
}

/** Work of a cost, to compare costs by. */
export function workOf({ costExponent, blockSize, parallelism }: ScryptCost): number {
  return 2 ** costExponent * blockSize * parallelism;
}

export function formatHash(hash: PasswordHash): string {
  const salt = hash.salt.toString("base64");
  const key = hash.key.toString("base64");
  switch (hash.kind) {
    case "scrypt": {
      const { costExponent, blockSize, parallelism } = hash.cost;
      return `$scrypt$ln=${costExponent},r=${blockSize},p=${parallelism}$${salt}$${key}`;
    }
    case "mosquitto-sha512":
      return `$6$${salt}$${key}`;
    case "mosquitto-pbkdf2":
      return `$7$${hash.iterations}$${salt}$${key}`;
  }
}

/** The hash in a text; null: it is none of those that are known, or its work has no bounds. */
export function parseHash(text: string): PasswordHash | null {
  const [start, kind, ...rest] = text.split("$");
  if (start !== "") return null;
  if (kind === "6") return parseSha512(rest);
  if (kind === "7") return parsePbkdf2(rest);
  return kind === "scrypt" ? parseScrypt(rest) : null;
}

function parseScrypt(parts: readonly string[]): ScryptHash | null {
  const [costText = "", saltText = "", keyText = "", ...rest] = parts;
  const match = /^ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})$/.exec(costText);
  const bytes = saltAndKey(saltText, keyText, scryptKeyBytes);
  if (match === null || bytes === null || rest.length > 0) return null;
  const [costExponent = 0, blockSize = 0, parallelism = 0] = match.slice(1).map(Number);
  const cost = { costExponent, blockSize, parallelism };
  return costSchema.safeParse(cost).success ? { kind: "scrypt", cost, ...bytes } : null;
}

const costSchema = z.object({
  costExponent: range(scryptLimits.costExponent),
  blockSize: range(scryptLimits.blockSize),
  parallelism: range(scryptLimits.parallelism),
});

function range({ min, max }: { readonly min: number; readonly max: number }) {
  return z.int().min(min).max(max);
}

function parseSha512(parts: readonly string[]): Sha512Hash | null {
  const [saltText = "", keyText = "", ...rest] = parts;
  const bytes = saltAndKey(saltText, keyText, sha512Bytes);
  return bytes === null || rest.length > 0 ? null : { kind: "mosquitto-sha512", ...bytes };
}

function parsePbkdf2(parts: readonly string[]): Pbkdf2Hash | null {
  const [iterationsText = "", saltText = "", keyText = "", ...rest] = parts;
  const bytes = saltAndKey(saltText, keyText, sha512Bytes);
  const iterations = /^[1-9]\d{0,7}$/.test(iterationsText) ? Number(iterationsText) : 0;
  if (bytes === null || rest.length > 0) return null;
  if (iterations < 1 || iterations > pbkdf2IterationsMax) return null;
  return { kind: "mosquitto-pbkdf2", iterations, ...bytes };
}

function saltAndKey(
  saltText: string,
  keyText: string,
  keyBytes: number,
): { salt: Buffer; key: Buffer } | null {
  if (!isBase64(saltText) || !isBase64(keyText)) return null;
  const salt = Buffer.from(saltText, "base64");
  const key = Buffer.from(keyText, "base64");
  const fits = salt.length > 0 && salt.length <= saltBytesMax && key.length === keyBytes;
  return fits ? { salt, key } : null;
}

const isBase64 = (text: string): boolean => z.base64().safeParse(text).success;

function keyOf(hash: PasswordHash, password: Buffer): Promise<Buffer> | Buffer {
  switch (hash.kind) {
    case "scrypt":
      return scryptKey(password, hash.salt, hash.cost);
    case "mosquitto-sha512":
      return createHash("sha512").update(password).update(hash.salt).digest();
    case "mosquitto-pbkdf2":
      return pbkdf2Key(password, hash.salt, hash.iterations);
  }
}

function scryptKey(password: Buffer, salt: Buffer, cost: ScryptCost): Promise<Buffer> {
  const { costExponent, blockSize: r, parallelism: p } = cost;
  const N = 2 ** costExponent;
  // What the algorithm needs, and a little: without it node refuses more than 32 MiB.
  const maxmem = 128 * r * (N + p + 2) + 1024 * 1024;
  return new Promise((resolve, reject) => {
    scrypt(password, salt, scryptKeyBytes, { N, r, p, maxmem }, (error, key) => {
      if (error === null) resolve(key);
      else reject(error);
    });
  });
}

function pbkdf2Key(password: Buffer, salt: Buffer, iterations: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    pbkdf2(password, salt, iterations, sha512Bytes, "sha512", (error, key) => {
      if (error === null) resolve(key);
      else reject(error);
    });
  });
}
