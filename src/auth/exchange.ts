/**
 * What an enhanced authentication method is [MQTT5 4.12]: messages of the client go in, answers come
 * out. It knows no packets, no connection and no time.
 */
import type { Random } from "../lib/random.js";
import type { Users } from "./users.js";

/** The answer to a message of the client. */
export type Step =
  | { readonly kind: "continue"; readonly data: Buffer }
  | { readonly kind: "success"; readonly data: Buffer; readonly user: string }
  /** `why`: a few words without anything that the client sent, for the counters. */
  | { readonly kind: "failure"; readonly data: Buffer; readonly why: string };

/** One authentication under way. After success or failure it is not asked again. */
export interface Exchange {
  /** `data`: the client's Authentication Data; empty when there was none. */
  step(data: Buffer): Step;
}

export interface MethodParts {
  readonly users: Users;
  readonly random: Random;
}

export interface EnhancedMethod {
  begin(parts: MethodParts): Exchange;
}
