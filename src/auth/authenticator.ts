/**
 * Who a client is: the one place that decides about a CONNECT and about enhanced authentication. Whatever
 * it refuses is counted by its reason; what it tells the client does not say which part was wrong.
 */
import type { Config } from "../config/schema.js";
import type { Clock } from "../lib/clock.js";
import type { Log } from "../lib/log.js";
import type { Random } from "../lib/random.js";
import { ReasonCode } from "../protocol/reason-codes.js";
import type { Admission, BasicAnswer, BasicMethod, Shown } from "./basic.js";
import { CheckQueue } from "./check-queue.js";
import { AuthCounters } from "./counters.js";
import type { Exchange } from "./exchange.js";
import { basicMethods, enhancedMethods } from "./methods/index.js";
import type { Users } from "./users.js";

export interface AuthenticatorParts {
  readonly settings: Config["auth"];
  readonly users: Users;
  readonly random: Random;
  readonly clock: Clock;
  readonly log: Log;
}

/** What a CONNECT without enhanced authentication shows. */
export interface Credentials extends Shown {
  /** The name in a client certificate that was verified; null: none. */
  readonly certificateUser: string | null;
  /** Whether the listener allows anonymous clients; null: as `auth.anonymous`. */
  readonly anonymous: boolean | null;
}

/** `user` empty: anonymous. */
export type Verdict = Admission | { readonly user: null; readonly reason: number };

/** One CONNECT on its way along the chain. */
interface Walk {
  readonly credentials: Credentials;
  isWanted(): boolean;
  done(verdict: Verdict): void;
  /** A method that keeps a list of clients has looked for this one in vain. */
  unknown: boolean;
}

export class Authenticator {
  readonly counters = new AuthCounters();
  private readonly chain: readonly BasicMethod[];
  /** Checks that cost processor time. */
  private readonly queue: CheckQueue;

  constructor(private readonly parts: AuthenticatorParts) {
    const { settings } = parts;
    const queue = new CheckQueue(settings.checks_at_once, settings.checks_waiting);
    this.queue = queue;
    this.chain = settings.methods.flatMap((name) => {
      const make = basicMethods.get(name);
      return make === undefined ? [] : [make({ ...parts, queue })];
    });
  }

  /** Checks that wait for their turn. */
  get waiting(): number {
    return this.chain.reduce((sum, method) => sum + method.waiting, this.queue.waiting);
  }

  /** What the methods count themselves, by their name. */
  get methodCounters(): Readonly<Record<string, object>> {
    return Object.assign({}, ...this.chain.map(({ name, counters }) => ({ [name]: counters })));
  }

  /** Gets the methods ready. @throws Refusal when one of them cannot work */
  async open(): Promise<void> {
    for (const method of this.chain) await method.open();
  }

  close(): void {
    for (const method of this.chain) method.close();
  }

  /**
   * Decides about a CONNECT. `done` is called once, possibly before this returns, unless `isWanted` has
   * become false.
   */
  check(credentials: Credentials, isWanted: () => boolean, done: (verdict: Verdict) => void): void {
    const { name, password, certificateUser } = credentials;
    if (certificateUser !== null) {
      this.counters.certificatesAccepted++;
      done({ user: certificateUser });
      return;
    }
    const isAsked =
      name !== "" || (password !== null && this.chain.some(({ takesNameless }) => takesNameless));
    if (isAsked) this.askChain(0, { credentials, isWanted, done, unknown: false });
    else this.admitAnonymous(credentials, done);
  }

  /** Begins an enhanced authentication; null: the method is not offered. */
  begin(method: string): Exchange | null {
    const { settings, users, random } = this.parts;
    const found = settings.methods.includes(method) ? enhancedMethods.get(method) : undefined;
    if (found !== undefined) return found.begin({ users, random });
    this.counters.refusedUnknownMethod++;
    return null;
  }

  private askChain(index: number, walk: Walk): void {
    const method = this.chain[index];
    if (method === undefined) {
      this.finish(walk);
      return;
    }
    const { credentials, isWanted } = walk;
    const { name, password, clientId, address, listener } = credentials;
    const done = (answer: BasicAnswer): void => this.onAnswer(answer, index, walk);
    method.check({ name, password, clientId, address, listener, isWanted, done });
  }

  /** The first verdict is the last word; a method that has none leaves it to the next. */
  private onAnswer(answer: BasicAnswer, index: number, walk: Walk): void {
    const { counters } = this;
    switch (answer.kind) {
      case "right":
        counters.passwordsAccepted++;
        walk.done(answer.admission);
        break;
      case "wrong password":
        counters.refusedWrongPassword++;
        refuse(walk, ReasonCode.BadUserNameOrPassword);
        break;
      case "wrong token":
        counters.tokenRefused(answer.why);
        refuse(walk, ReasonCode.BadUserNameOrPassword);
        break;
      case "denied":
        counters.refusedByService++;
        refuse(walk, ReasonCode.BadUserNameOrPassword);
        break;
      case "unavailable":
        counters.refusedUnavailable++;
        refuse(walk, ReasonCode.ServerUnavailable);
        break;
      case "busy":
        counters.refusedBusy++;
        refuse(walk, ReasonCode.ServerBusy);
        break;
      case "unknown":
        walk.unknown = true;
        this.askChain(index + 1, walk);
        break;
      case "ignored":
        this.askChain(index + 1, walk);
        break;
      case "abandoned":
        counters.checksAbandoned++;
    }
  }

  /** Nobody had a verdict: where names are not checked at all, they are as good as none. */
  private finish(walk: Walk): void {
    const { users } = this.parts;
    if (!walk.unknown && !users.kept && this.allowsAnonymous(walk.credentials)) {
      this.admitAnonymous(walk.credentials, walk.done);
      return;
    }
    this.counters.refusedUnknownUser++;
    refuse(walk, ReasonCode.BadUserNameOrPassword);
  }

  private admitAnonymous(credentials: Credentials, done: (verdict: Verdict) => void): void {
    if (this.allowsAnonymous(credentials)) {
      this.counters.anonymousAccepted++;
      done({ user: "" });
    } else {
      this.counters.refusedAnonymous++;
      done({ user: null, reason: ReasonCode.NotAuthorized });
    }
  }

  private allowsAnonymous(credentials: Credentials): boolean {
    return credentials.anonymous ?? this.parts.settings.anonymous ?? false;
  }
}

function refuse(walk: Walk, reason: number): void {
  walk.done({ user: null, reason });
}
