/** Users in memory, for tests. */
import {
  type CheckWork,
  standInVerifier,
  type UserSecrets,
  type Users,
} from "../../src/auth/users.js";
import { deriveVerifier, type Verifier } from "../../src/auth/verifier.js";

const standInKey = Buffer.alloc(32, 7);

export class TestUsers implements Users {
  readonly verifiers = new Map<string, Verifier>();

  readonly strangers: string[] = [];

  constructor(readonly kept = true) {}

  find(name: string): UserSecrets | undefined {
    const verifier = this.verifiers.get(name);
    return verifier === undefined ? undefined : { verifier, hash: null };
  }

  readonly work: CheckWork = { scrypt: null, verifierIterations: 4096, pbkdf2Iterations: 0 };

  isOutdated(): boolean {
    return false;
  }

  async renew(): Promise<void> {}

  standIn(name: string): Verifier {
    this.strangers.push(name);
    return standInVerifier(standInKey, name, 4096);
  }
}

/** Users with these passwords. */
export async function testUsers(passwords: Readonly<Record<string, string>>): Promise<TestUsers> {
  const users = new TestUsers();
  for (const [name, password] of Object.entries(passwords)) {
    const verifier = await deriveVerifier(Buffer.from(password), Buffer.from("salt"), 4096);
    users.verifiers.set(name, verifier);
  }
  return users;
}
