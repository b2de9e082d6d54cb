/** What an error of Redis, or of the connection to it, means for a write. */
import type { StoreFailure } from "../store.js";

/** Errors after which the same call is made again at once, once, in another way or to another server. */
export type Detour = "no-script" | "moved" | "ask";

const detours: readonly (readonly [start: string, detour: Detour])[] = [
  ["NOSCRIPT", "no-script"],
  ["MOVED ", "moved"],
  ["ASK ", "ask"],
];

/** Beginnings of errors that say that Redis cannot store any more until somebody makes room. */
const fullErrors = ["OOM ", "MISCONF "];
/** Inside a script an older Redis puts its own words before the error. */
const fullWords = /-OOM |OOM command not allowed/;
const brokenErrors = ["WRONGTYPE "];

/** The detour that an error asks for, or undefined. */
export function detourOf(error: Error): Detour | undefined {
  return detours.find(([start]) => error.message.startsWith(start))?.[1];
}

/** Whether the login was refused: trying again with the same words is of no use. */
export function isLoginFailure(message: string): boolean {
  return /^(?:WRONGPASS|NOAUTH|NOPERM|ERR invalid password|ERR AUTH)/.test(message);
}

/** What kind of failure an error is. Whatever is not known may pass, so it is `unavailable`. */
export function failureOf(error: Error): StoreFailure {
  const { message } = error;
  const why = `Redis: ${withoutArguments(message)}`;
  if (fullErrors.some((start) => message.startsWith(start)) || fullWords.test(message)) {
    return { kind: "full", why };
  }
  const broken = brokenErrors.some((start) => message.startsWith(start));
  return { kind: broken ? "broken" : "unavailable", why };
}

/** An error's text as it may be logged: Redis repeats the arguments, passwords too, of commands it does not know. */
export function withoutArguments(message: string): string {
  return message.replace(/,? with args beginning with:.*$/s, "").slice(0, 300);
}
