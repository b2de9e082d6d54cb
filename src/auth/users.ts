/** The users as authentication sees them, and the stand-ins for those that do not exist. */
import type { PasswordHash, ScryptCost } from "./password-hash.js";
import { hmac, keyBytes, saltBytes, type Verifier } from "./verifier.js";

/** What is kept of a user's password; at least one of the two is there. */
export interface UserSecrets {
  /** For SCRAM; null: the password came from elsewhere as a hash. */
  readonly verifier: Verifier | null;
  /** For the password itself; null: it is checked against the verifier. */
  readonly hash: PasswordHash | null;
}

/**
 * The work of one check of a password: what any user's check needs, so that all checks cost the same,
 * whether there is such a user or not.
 */
export interface CheckWork {
  /** The highest cost of any user's own hash; null: nobody has one. */
  readonly scrypt: ScryptCost | null;
  /** Most iterations of users that have a verifier alone; 0: there are none. */
  readonly verifierIterations: number;
  /** Most iterations of hashes that came from mosquitto_passwd; 0: there are none. */
  readonly pbkdf2Iterations: number;
}

export interface Users {
  /** There is a list of users, if only an empty one. Without it names are not checked. */
  readonly kept: boolean;
  find(name: string): UserSecrets | undefined;
  /** What SCRAM uses instead for a name that does not exist; no password fits. */
  standIn(name: string): Verifier;
  readonly work: CheckWork;
  /** Whether these secrets are weaker than those that a new password gets. */
  isOutdated(secrets: UserSecrets): boolean;
  /** Keeps a password that was right for `secrets` in the form of a new one. Never rejects. */
  renew(name: string, secrets: UserSecrets, password: Buffer): Promise<void>;
}

/**
 * The verifier for a name that does not exist: always the same for the same name and key, so that a
 * stranger who asks twice for its salt learns nothing.
 */
export function standInVerifier(key: Buffer, name: string, iterations: number): Verifier {
  return {
    salt: hmac(key, `salt ${name}`).subarray(0, saltBytes),
    iterations,
    storedKey: hmac(key, `stored key ${name}`).subarray(0, keyBytes),
    serverKey: hmac(key, `server key ${name}`).subarray(0, keyBytes),
  };
}
