/**
 * What is kept of a password: the verifier of SCRAM-SHA-256 (RFC 5802 section 3, RFC 7677). A password
 * can be checked against it; neither the password nor a proof of it can be made from it.
 */
import { createHash, createHmac, pbkdf2, timingSafeEqual } from "node:crypto";

export interface Verifier {
  readonly salt: Buffer;
  readonly iterations: number;
  /** H(ClientKey). */
  readonly storedKey: Buffer;
  readonly serverKey: Buffer;
}

/** Length of keys and signatures, in bytes. */
export const keyBytes = 32;
export const saltBytes = 16;

/** The verifier of a password. The work is done outside of the event loop. */
export async function deriveVerifier(
  password: Buffer,
  salt: Buffer,
  iterations: number,
): Promise<Verifier> {
  const salted = await saltedPassword(password, salt, iterations);
  const storedKey = sha256(hmac(salted, "Client Key"));
  return { salt, iterations, storedKey, serverKey: hmac(salted, "Server Key") };
}

/** Whether this is the password of the verifier. It takes as long for a wrong one. */
export async function matches(verifier: Verifier, password: Buffer): Promise<boolean> {
  const salted = await saltedPassword(password, verifier.salt, verifier.iterations);
  return timingSafeEqual(sha256(hmac(salted, "Client Key")), verifier.storedKey);
}

export function hmac(key: Buffer, data: string | Buffer): Buffer {
  return createHmac("sha256", key).update(data).digest();
}

export function sha256(data: Buffer): Buffer {
  return createHash("sha256").update(data).digest();
}

function saltedPassword(password: Buffer, salt: Buffer, iterations: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    pbkdf2(password, salt, iterations, keyBytes, "sha256", (error, key) => {
      if (error === null) resolve(key);
      else reject(error);
    });
  });
}
