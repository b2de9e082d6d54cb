/** What authentication counts. Each refusal is in exactly one of the fields that begin with `refused`. */

export class AuthCounters {
  /** Clients let in by what their CONNECT shows: a password, a token, the word of the HTTP service. */
  passwordsAccepted = 0;
  /** Clients let in by the certificate that their listener has verified. */
  certificatesAccepted = 0;
  /** Clients let in without a name, or with one that nobody checks. */
  anonymousAccepted = 0;
  refusedAnonymous = 0;
  refusedUnknownUser = 0;
  refusedWrongPassword = 0;
  /** Tokens that were refused, by reason. */
  readonly refusedToken: Record<string, number> = {};
  /** The HTTP service said no. */
  refusedByService = 0;
  /** The HTTP service gave no answer. */
  refusedUnavailable = 0;
  /** `auth.checks_waiting` was reached. */
  refusedBusy = 0;
  /** Enhanced authentication by a method that is not offered. */
  refusedUnknownMethod = 0;
  /** Enhanced authentications at CONNECT that failed, by reason. */
  readonly refusedExchange: Record<string, number> = {};
  /** Authentications during a connection that failed, by reason. */
  readonly refusedAgain: Record<string, number> = {};
  /** Enhanced authentications at CONNECT that went well. */
  exchangesAccepted = 0;
  /** Authentications during a connection that went well. */
  againAccepted = 0;
  /** Password checks that nobody wanted any more when their turn came. */
  checksAbandoned = 0;

  tokenRefused(why: string): void {
    this.refusedToken[why] = (this.refusedToken[why] ?? 0) + 1;
  }

  exchangeRefused(why: string): void {
    this.refusedExchange[why] = (this.refusedExchange[why] ?? 0) + 1;
  }

  againRefused(why: string): void {
    this.refusedAgain[why] = (this.refusedAgain[why] ?? 0) + 1;
  }
}
