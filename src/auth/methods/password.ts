/**
 * User name and password of a CONNECT, checked against what the users file keeps of the password. Each
 * check does the same work in worker threads, whether there is such a user or not and whatever is kept
 * of its password; a right password that is kept in an older form is kept in the present one from then on.
 */
import type { BasicAnswer, BasicCheck, BasicMethod, BasicParts } from "../basic.js";
import { hashMatches, spendPbkdf2, spendScrypt } from "../password-hash.js";
import type { CheckWork, UserSecrets } from "../users.js";
import { keyBytes, matches, type Verifier } from "../verifier.js";

/** Longest password that a user can have, in bytes. */
export const passwordBytesMax = 1024;

export class PasswordMethod implements BasicMethod {
  readonly name = "password";
  readonly counters = {};
  readonly takesNameless = false;
  readonly waiting = 0;

  constructor(private readonly parts: BasicParts) {}

  check(check: BasicCheck): void {
    const { name, password } = check;
    if (name === "" || !this.parts.users.kept) check.done({ kind: "ignored" });
    // A password that no user can have is refused as early for known names as for others.
    else if (password === null || password.length === 0 || password.length > passwordBytesMax) {
      check.done({ kind: "wrong password" });
    } else this.parts.queue.run(check, () => this.answer(name, password));
  }

  async open(): Promise<void> {}

  close(): void {}

  private async answer(name: string, password: Buffer): Promise<BasicAnswer> {
    const { users } = this.parts;
    const secrets = users.find(name);
    const right = await passwordMatches(secrets, password, users.work);
    if (secrets === undefined) return { kind: "unknown" };
    if (!right) return { kind: "wrong password" };
    // In this check's place of the queue, so that this work is bounded as well.
    if (users.isOutdated(secrets)) await users.renew(name, secrets, password);
    return { kind: "right", admission: { user: name } };
  }
}

/** Whether this is the user's password. `work` is what it costs, also without a user. */
export async function passwordMatches(
  secrets: UserSecrets | undefined,
  password: Buffer,
  work: CheckWork,
): Promise<boolean> {
  const { hash = null, verifier = null } = secrets ?? {};
  let right = false;
  if (hash?.kind === "scrypt") right = await hashMatches(hash, password);
  else if (work.scrypt !== null) await spendScrypt(password, work.scrypt);
  if (hash !== null && hash.kind !== "scrypt") right = await hashMatches(hash, password);
  if (work.pbkdf2Iterations > 0 && hash?.kind !== "mosquitto-pbkdf2") {
    await spendPbkdf2(password, work.pbkdf2Iterations);
  }
  if (hash === null && verifier !== null) right = await matches(verifier, password);
  else if (work.verifierIterations > 0) await matches(nobody(work.verifierIterations), password);
  return right;
}

/** A verifier that costs as much as a user's; what it says is not looked at. */
function nobody(iterations: number): Verifier {
  const key = Buffer.alloc(keyBytes);
  return { salt: key, iterations, storedKey: key, serverKey: key };
}
