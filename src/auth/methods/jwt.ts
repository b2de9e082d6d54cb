/**
 * JSON Web Tokens (RFC 7519): a CONNECT that carries one is let in when the token is signed by a key of
 * ours, names an algorithm that fits this key, and is valid now. Anything shaped like a token is decided
 * here; anything else is left to the next method.
 */
import { errors, type JWTPayload, type JWTVerifyOptions, jwtVerify } from "jose";
import type { Admission, BasicAnswer, BasicCheck, BasicMethod, BasicParts } from "../basic.js";
import { KeyFile, type KeyFileKind } from "../key-file.js";
import { clientRules } from "../rules.js";
import { utf8Text } from "../saslprep.js";
import { nameProblem } from "../users-content.js";

/** Longest token that is looked at. */
const tokenBytesMax = 16 * 1024;
const tokenShape = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*$/;

const unknown: BasicAnswer = { kind: "unknown" };

export class JwtMethod implements BasicMethod {
  readonly name = "jwt";
  readonly takesNameless = true;
  readonly waiting = 0;
  private readonly file: KeyFile;

  constructor(private readonly parts: BasicParts) {
    const { clock, log, settings } = parts;
    this.file = new KeyFile({ ...keyPlace(settings.jwt), clock, log });
  }

  get counters(): object {
    return this.file.counters;
  }

  open(): Promise<void> {
    return this.file.open();
  }

  close(): void {
    this.file.close();
  }

  check(check: BasicCheck): void {
    const { queue, settings } = this.parts;
    const token = settings.jwt.from === "username" ? check.name : textOf(check.password);
    if (token === "") check.done({ kind: "ignored" });
    else if (token.length > tokenBytesMax || !tokenShape.test(token)) check.done(unknown);
    else queue.run(check, () => this.answer(token));
  }

  private async answer(token: string): Promise<BasicAnswer> {
    const { keys } = this.file;
    if (keys === null) return { kind: "unavailable" };
    const { settings, clock } = this.parts;
    const { issuer, audience, algorithms, clock_tolerance: toleranceMs } = settings.jwt;
    const options: JWTVerifyOptions = {
      algorithms: keys.algorithms.filter((name) => algorithms.includes(name)),
      requiredClaims: ["exp"],
      clockTolerance: toleranceMs / 1000,
      currentDate: new Date(clock.wallMs()),
      ...(issuer === "" ? {} : { issuer }),
      ...(audience === "" ? {} : { audience }),
    };
    try {
      const { payload } = await jwtVerify(token, keys.find, options);
      return this.admit(payload);
    } catch (error) {
      return { kind: "wrong token", why: reasonOf(error) };
    }
  }

  /** Of a token that is right: who it is for, and what it says beyond that. */
  private admit(payload: JWTPayload): BasicAnswer {
    const { user_claim, clock_tolerance, disconnect_on_expiry } = this.parts.settings.jwt;
    const user = payload[user_claim];
    if (typeof user !== "string" || nameProblem(user) !== null) {
      return { kind: "wrong token", why: "user" };
    }
    const { acl, exp = 0 } = payload;
    const rules = acl === undefined ? null : clientRules(acl);
    if (acl !== undefined && rules === null) return { kind: "wrong token", why: "acl" };
    const admission: Admission = {
      user,
      ...(rules === null ? {} : { rules }),
      ...(disconnect_on_expiry ? { expiresAtMs: exp * 1000 + clock_tolerance } : {}),
    };
    return { kind: "right", admission };
  }
}

/** The one file of keys that is set. */
function keyPlace(jwt: BasicParts["settings"]["jwt"]): { path: string; kind: KeyFileKind } {
  if (jwt.secret_file !== "") return { path: jwt.secret_file, kind: "secret" };
  if (jwt.public_key_file !== "") return { path: jwt.public_key_file, kind: "public key" };
  return { path: jwt.jwks_file, kind: "key set" };
}

function textOf(password: Buffer | null): string {
  return password === null ? "" : (utf8Text(password) ?? "\0");
}

/** Why a token is refused, in words that hold nothing of it. */
function reasonOf(error: unknown): string {
  if (error instanceof errors.JWTExpired) return "expired";
  if (error instanceof errors.JWTClaimValidationFailed) {
    const { claim } = error;
    return claim === "nbf" && error.reason === "check_failed" ? "not yet valid" : claim;
  }
  if (error instanceof errors.JWSSignatureVerificationFailed) return "signature";
  if (error instanceof errors.JOSEAlgNotAllowed) return "algorithm";
  if (error instanceof errors.JWKSNoMatchingKey) return "no such key";
  if (error instanceof errors.JWKSMultipleMatchingKeys) return "several such keys";
  return "malformed";
}
