/**
 * Who a client is: the one place that decides about a CONNECT and about enhanced authentication. Whatever
 * it refuses is counted by its reason; what it tells the client does not say which part was wrong.
 */
import type { Config } from "../config/schema.js";
import type { Random } from "../lib/random.js";
import { ReasonCode } from "../protocol/reason-codes.js";
import type { BasicAnswer, BasicMethod } from "./basic.js";
import { AuthCounters } from "./counters.js";
import type { Exchange } from "./exchange.js";
import { basicMethods, enhancedMethods } from "./methods/index.js";
import type { Users } from "./users.js";

export interface AuthenticatorParts {
  readonly settings: Config["auth"];
  readonly users: Users;
  readonly random: Random;
}

/** What a CONNECT without enhanced authentication shows. */
export interface Credentials {
  /** Empty: none; an empty user name is none. */
  readonly name: string;
  readonly password: Buffer | null;
  /** The name in a client certificate that was verified; null: none. */
  readonly certificateUser: string | null;
  /** Whether the listener allows anonymous clients; null: as `auth.anonymous`. */
  readonly anonymous: boolean | null;
}

/** `user` empty: anonymous. */
export type Verdict = { readonly user: string } | { readonly user: null; readonly reason: number };

export class Authenticator {
  readonly counters = new AuthCounters();
  private readonly chain: readonly BasicMethod[];

  constructor(private readonly parts: AuthenticatorParts) {
    const { settings, users } = parts;
    this.chain = settings.methods.flatMap((name) => {
      const make = basicMethods.get(name);
      return make === undefined ? [] : [make(users, settings)];
    });
  }

  /** Checks of passwords that wait for their turn. */
  get waiting(): number {
    return this.chain.reduce((sum, method) => sum + method.waiting, 0);
  }

  /**
   * Decides about a CONNECT. `done` is called once, possibly before this returns, unless `isWanted` has
   * become false.
   */
  check(credentials: Credentials, isWanted: () => boolean, done: (verdict: Verdict) => void): void {
    const { name, certificateUser } = credentials;
    const anonymous = credentials.anonymous ?? this.parts.settings.anonymous;
    if (certificateUser !== null) {
      this.counters.certificatesAccepted++;
      done({ user: certificateUser });
    } else if (anonymous && (name === "" || !this.parts.users.kept)) {
      this.counters.anonymousAccepted++;
      done({ user: "" });
    } else if (name === "") {
      this.counters.refusedAnonymous++;
      done({ user: null, reason: ReasonCode.NotAuthorized });
    } else this.askChain(0, credentials, isWanted, done);
  }

  /** Begins an enhanced authentication; null: the method is not offered. */
  begin(method: string): Exchange | null {
    const { settings, users, random } = this.parts;
    const found = settings.methods.includes(method) ? enhancedMethods.get(method) : undefined;
    if (found !== undefined) return found.begin({ users, random });
    this.counters.refusedUnknownMethod++;
    return null;
  }

  private askChain(
    index: number,
    credentials: Credentials,
    isWanted: () => boolean,
    done: (verdict: Verdict) => void,
  ): void {
    const { name, password } = credentials;
    const method = this.chain[index];
    if (method === undefined) {
      this.counters.refusedUnknownUser++;
      done({ user: null, reason: ReasonCode.BadUserNameOrPassword });
      return;
    }
    const onAnswer = (answer: BasicAnswer): void => {
      switch (answer) {
        case "right":
          this.counters.passwordsAccepted++;
          done({ user: name });
          break;
        case "wrong":
          this.counters.refusedWrongPassword++;
          done({ user: null, reason: ReasonCode.BadUserNameOrPassword });
          break;
        case "busy":
          this.counters.refusedBusy++;
          done({ user: null, reason: ReasonCode.ServerBusy });
          break;
        case "unknown":
          this.askChain(index + 1, credentials, isWanted, done);
          break;
        case "abandoned":
          this.counters.checksAbandoned++;
      }
    };
    method.check({ name, password, isWanted, done: onAnswer });
  }
}
