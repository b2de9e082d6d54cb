/** Authenticators, and questions to them as a CONNECT would ask. */
import { Authenticator, type Credentials, type Verdict } from "../../src/auth/authenticator.js";
import type { Users } from "../../src/auth/users.js";
import { configSchema } from "../../src/config/schema.js";
import { realClock } from "../../src/lib/clock.js";
import { type Log, silentLog } from "../../src/lib/log.js";
import { realRandom } from "../../src/lib/random.js";
import { TestUsers } from "./support.js";

export const refusedUser: Verdict = { user: null, reason: 0x86 };
export const notAuthorized: Verdict = { user: null, reason: 0x87 };
export const unavailable: Verdict = { user: null, reason: 0x88 };
export const busy: Verdict = { user: null, reason: 0x89 };

/** `settings`: the section auth as a file would hold it, over `anonymous: true`. */
export function authenticatorOf(
  settings: Readonly<Record<string, unknown>> = {},
  users: Users = new TestUsers(false),
  log: Log = silentLog,
): Authenticator {
  const { auth } = configSchema.parse({ auth: { anonymous: true, ...settings } });
  return new Authenticator({
    ...{ settings: auth, users, log },
    ...{ random: realRandom, clock: realClock },
  });
}

export type Asked = Partial<Omit<Credentials, "password">> & { password?: string | Buffer | null };

export function ask(
  authenticator: Authenticator,
  shown: Asked,
  isWanted = () => true,
): Promise<Verdict> {
  const credentials: Credentials = {
    ...{ name: "", certificateUser: null, anonymous: null },
    ...{ clientId: "c", address: "127.0.0.1:4711", listener: "tcp" },
    ...shown,
    password: shown.password == null ? null : Buffer.from(shown.password),
  };
  return new Promise((resolve) => authenticator.check(credentials, isWanted, resolve));
}
