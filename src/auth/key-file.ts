/**
 * The key that signs tokens, from a file that may change while the node runs. What kind of file it is
 * decides which algorithms a token may name, so that a public key is never taken for a shared secret.
 * A file that becomes unusable changes nothing: the keys stay as they were last known.
 */
import { createPublicKey } from "node:crypto";
import {
  type CryptoKey,
  createLocalJWKSet,
  type FlattenedJWSInput,
  type JSONWebKeySet,
  type JWTHeaderParameters,
  type KeyObject,
} from "jose";
import { z } from "zod";
import type { Clock, Timer } from "../lib/clock.js";
import type { Log } from "../lib/log.js";
import { Refusal } from "../lib/refusal.js";
import { readWhole, signature } from "./file-signature.js";

export type KeyFileKind = "secret" | "public key" | "key set";

/** Finds the key for a token. */
type FindKey = (
  header: JWTHeaderParameters,
  token: FlattenedJWSInput,
) => Promise<CryptoKey | KeyObject | Uint8Array>;

export interface Keys {
  readonly find: FindKey;
  /** Algorithms that these keys can be used with. */
  readonly algorithms: readonly string[];
}

const fileBytesMax = 1024 * 1024;
/** A change of the file is noticed within this time. */
const lookEveryMs = 1000;
/** RFC 7518 section 3.2: no shorter than the hash. */
const secretBytesMin = 32;
const rsaBitsMin = 2048;

const symmetric = ["HS256", "HS384", "HS512"];
const ofRsa = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"];
const ofCurves = new Map([
  ["prime256v1", "ES256"],
  ["secp384r1", "ES384"],
  ["secp521r1", "ES512"],
]);
const edwards = ["EdDSA", "Ed25519"];
/** Those that a key set, which holds public keys only, may be used with. */
const asymmetric = [...ofRsa, ...ofCurves.values(), ...edwards];

const keySetSchema = z.object({
  keys: z
    .array(z.looseObject({ kty: z.enum(["RSA", "EC", "OKP"]), d: z.undefined().optional() }))
    .min(1)
    .max(1000),
});

export interface KeyFileParts {
  readonly path: string;
  readonly kind: KeyFileKind;
  readonly clock: Clock;
  readonly log: Log;
  readonly lookMs?: number;
}

export class KeyFile {
  readonly counters = { loaded: 0, loadFailures: 0 };
  private current: Keys | null = null;
  private seen = "";
  private timer: Timer | undefined;
  private closed = false;

  constructor(private readonly parts: KeyFileParts) {}

  /** Null before `open`. */
  get keys(): Keys | null {
    return this.current;
  }

  /** Reads the file and goes on to look after it. @throws Refusal when it is not usable */
  async open(): Promise<void> {
    const { kind, path } = this.parts;
    try {
      await this.load();
    } catch (error) {
      throw new Refusal(`the ${kind} file ${path} for tokens cannot be used: ${messageOf(error)}`);
    }
    this.lookLater();
  }

  close(): void {
    this.closed = true;
    this.parts.clock.clearTimer(this.timer);
  }

  private lookLater(): void {
    if (this.closed) return;
    const { clock, log, path, lookMs = lookEveryMs } = this.parts;
    this.timer = clock.setTimer(lookMs, () => {
      this.load()
        .catch((error: unknown) => {
          this.counters.loadFailures++;
          log.error({ path, why: messageOf(error) }, "keys for tokens are not taken; the old stay");
        })
        .finally(() => this.lookLater());
    });
  }

  private async load(): Promise<void> {
    const { path, kind } = this.parts;
    const now = await signature(path);
    if (now === this.seen) return;
    // Noted before it is read: one that is not usable is complained about once.
    this.seen = now;
    const { text, signature: read } = await readWhole(path, fileBytesMax);
    this.seen = read;
    this.current = parseKeys(kind, text);
    this.counters.loaded++;
  }
}

/** @throws Error with what is wrong, without quoting the text */
export function parseKeys(kind: KeyFileKind, text: string): Keys {
  if (kind === "secret") return secretKeys(text);
  return kind === "public key" ? publicKeys(text) : keySet(text);
}

function secretKeys(text: string): Keys {
  if (text.includes("-----BEGIN")) throw new Error("it holds a key in PEM, which is no secret");
  const secret = Buffer.from(text.replace(/\r?\n$/, ""));
  if (secret.length < secretBytesMin) throw new Error(`it is shorter than ${secretBytesMin} bytes`);
  return { find: async () => secret, algorithms: symmetric };
}

function publicKeys(text: string): Keys {
  // A private key would make a public one, too, and has no place on a node.
  if (/-----BEGIN [A-Z ]*PRIVATE KEY/.test(text)) throw new Error("it holds a private key");
  let key: ReturnType<typeof createPublicKey>;
  try {
    key = createPublicKey(text);
  } catch {
    throw new Error("it holds no public key in PEM");
  }
  const algorithms = algorithmsOf(key);
  return { find: async () => key, algorithms };
}

function algorithmsOf(key: ReturnType<typeof createPublicKey>): readonly string[] {
  const { modulusLength = 0, namedCurve = "" } = key.asymmetricKeyDetails ?? {};
  const ofCurve = ofCurves.get(namedCurve);
  if (key.asymmetricKeyType === "rsa") {
    if (modulusLength >= rsaBitsMin) return ofRsa;
    throw new Error(`its key has ${modulusLength} bits, at least ${rsaBitsMin} are needed`);
  }
  if (key.asymmetricKeyType === "ed25519") return edwards;
  if (key.asymmetricKeyType === "ec" && ofCurve !== undefined) return [ofCurve];
  throw new Error("its key is of a kind that no token can be signed with");
}

function keySet(text: string): Keys {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw new Error("it is no JSON");
  }
  const checked = keySetSchema.safeParse(parsed);
  if (!checked.success) throw new Error("it is no set of public keys (JWKS: RSA, EC, OKP)");
  // What the schema lets through has the shape of a key set; a key that is none fails when it is used.
  return { find: createLocalJWKSet(parsed as JSONWebKeySet), algorithms: asymmetric };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
