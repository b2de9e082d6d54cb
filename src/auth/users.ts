/** The users as authentication sees them, and the stand-ins for those that do not exist. */
import { hmac, keyBytes, saltBytes, type Verifier } from "./verifier.js";

export interface Users {
  /** There is a list of users, if only an empty one. Without it names are not checked. */
  readonly kept: boolean;
  find(name: string): Verifier | undefined;
  /** What to check instead for a name that does not exist; no password fits. */
  standIn(name: string): Verifier;
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
