/** Every authentication method by its name in `auth.methods`; a newcomer adds one file and one line. */
import type { BasicMethod, BasicParts } from "../basic.js";
import type { EnhancedMethod } from "../exchange.js";
import { HttpMethod } from "./http.js";
import { JwtMethod } from "./jwt.js";
import { PasswordMethod } from "./password.js";
import { scramSha256 } from "./scram.js";

/** For what a CONNECT shows of itself. */
export const basicMethods: ReadonlyMap<string, (parts: BasicParts) => BasicMethod> = new Map<
  string,
  (parts: BasicParts) => BasicMethod
>([
  ["password", (parts) => new PasswordMethod(parts)],
  ["jwt", (parts) => new JwtMethod(parts)],
  ["http", (parts) => new HttpMethod(parts)],
]);

/** For the Authentication Method of MQTT 5, by which name clients ask for them. */
export const enhancedMethods: ReadonlyMap<string, EnhancedMethod> = new Map([
  ["SCRAM-SHA-256", scramSha256],
]);
