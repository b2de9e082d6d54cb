/**
 * What a method for the user name and password of a CONNECT is. Methods form a chain in the order of
 * `auth.methods`: the first that knows the client decides, the others are not asked.
 */
import type { Config } from "../config/schema.js";
import type { Clock } from "../lib/clock.js";
import type { Log } from "../lib/log.js";
import type { Random } from "../lib/random.js";
import type { CheckQueue } from "./check-queue.js";
import type { ClientRule } from "./rules.js";
import type { Users } from "./users.js";

/** A client that is let in. */
export interface Admission {
  /** Whose sessions and rights it has; empty: anonymous. */
  readonly user: string;
  /** Rules of this client alone; without them only the node's own hold. */
  readonly rules?: readonly ClientRule[];
  /** When its connection has to end, in wall-clock milliseconds; without it never. */
  readonly expiresAtMs?: number;
}

export type BasicAnswer =
  | { readonly kind: "right"; readonly admission: Admission }
  | { readonly kind: "wrong password" }
  /** `why`: a few words without anything that the client sent, for the counters. */
  | { readonly kind: "wrong token"; readonly why: string }
  /** Refused by the service that was asked. */
  | { readonly kind: "denied" }
  /** The service that should have been asked gave no answer. */
  | { readonly kind: "unavailable" }
  /** It knows no such client; the next method may. Refused when nobody does. */
  | { readonly kind: "unknown" }
  /** It has nothing to say about clients like this one. */
  | { readonly kind: "ignored" }
  /** Too many checks wait. */
  | { readonly kind: "busy" }
  /** Nobody wanted the answer any more. */
  | { readonly kind: "abandoned" };

/** What a CONNECT shows, and from where it came. */
export interface Shown {
  /** Empty: none; an empty user name is none. */
  readonly name: string;
  /** Null: the CONNECT had none. */
  readonly password: Buffer | null;
  /** Empty: the node is to choose one. */
  readonly clientId: string;
  /** Host and port of the client. */
  readonly address: string;
  /** Name of the listener. */
  readonly listener: string;
}

export interface BasicCheck extends Shown {
  /** Whether the connection is still there. */
  isWanted(): boolean;
  /** Called once, possibly before `check` returns. */
  done(answer: BasicAnswer): void;
}

export interface BasicMethod {
  /** As in `auth.methods`. */
  readonly name: string;
  /** What it counts beyond its verdicts, for the metrics. */
  readonly counters: object;
  /** It also looks at clients that show a password without a user name. */
  readonly takesNameless: boolean;
  /** Checks that wait for this method alone. */
  readonly waiting: number;
  check(check: BasicCheck): void;
  /** Gets ready. @throws Refusal when something that it needs cannot be had */
  open(): Promise<void>;
  close(): void;
}

/** What a method is made of. */
export interface BasicParts {
  readonly settings: Config["auth"];
  readonly users: Users;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** For checks that cost processor time, of all methods together. */
  readonly queue: CheckQueue;
}
