/** Every authentication method by its name in `auth.methods`; a newcomer adds one file and one line. */
import type { BasicMethod } from "../basic.js";
import type { EnhancedMethod } from "../exchange.js";
import type { Users } from "../users.js";
import { type CheckLimits, PasswordMethod } from "./password.js";
import { scramSha256 } from "./scram.js";

/** For the user name and password of a CONNECT. */
export const basicMethods: ReadonlyMap<string, (users: Users, limits: CheckLimits) => BasicMethod> =
  new Map([["password", (users, limits) => new PasswordMethod(users, limits)]]);

/** For the Authentication Method of MQTT 5, by which name clients ask for them. */
export const enhancedMethods: ReadonlyMap<string, EnhancedMethod> = new Map([
  ["SCRAM-SHA-256", scramSha256],
]);
