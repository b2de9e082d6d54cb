/** The sections of `auth` that belong to one method each: hashes of passwords, tokens, the HTTP service. */
import { z } from "zod";
import { duration, flag, integer, list, oneOf, text } from "./setting.js";

/** What may be asked of scrypt: at most 512 MiB. */
export const scryptLimits = {
  costExponent: { min: 10, max: 18 },
  blockSize: { min: 1, max: 16 },
  parallelism: { min: 1, max: 16 },
} as const;

export const scrypt = z
  .strictObject({
    cost_exponent: integer({
      ...scryptLimits.costExponent,
      default: 14,
      unit: "powers of two",
      about:
        "Work and memory of the hashes (scrypt) of new passwords, as a power of two: each step doubles both. Higher " +
        "makes a stolen users file harder to use, and each CONNECT with a password slower: 14 takes about 50 " +
        "ms of a processor and 16 MiB while it is checked. Passwords that are kept with less are " +
        "renewed when they are used.",
    }),
    block_size: integer({
      ...scryptLimits.blockSize,
      default: 8,
      unit: "blocks of 128 bytes",
      about: "Block size of scrypt (r): time and memory grow with it.",
    }),
    parallelism: integer({
      ...scryptLimits.parallelism,
      default: 1,
      unit: "rounds",
      about: "Rounds of scrypt (p), done one after the other: time grows with it, memory does not.",
    }),
  })
  .prefault({});

const path = { type: "path", pattern: /^.*$/, allowed: "a path of a file, or empty", default: "" };
const tokenAlgorithms = [
  ...["HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
  ...["ES256", "ES384", "ES512", "EdDSA", "Ed25519"],
];

export const jwt = z
  .strictObject({
    from: oneOf(["password", "username"], {
      default: "password",
      about:
        "Which field of CONNECT holds the token. password: the user name is not looked at, and may be left out " +
        "(MQTT 3 clients have to send one). username: for clients that can set nothing else.",
    }),
    secret_file: text({
      ...path,
      about:
        "File with the secret of tokens that are signed by HS256, HS384 or HS512: at least 32 bytes; a line end " +
        "at its end does not count. Exactly one of secret_file, public_key_file and jwks_file must be set " +
        "when auth.methods has jwt. Changes are noticed within a second; a broken file leaves the old " +
        "keys in force, with an error in the log.",
    }),
    public_key_file: text({
      ...path,
      about:
        "File with the public key (PEM; RSA of 2048 bits or more, P-256, P-384, P-521, Ed25519) of tokens that are " +
        "signed by RS, PS, ES or EdDSA. Only algorithms that fit the key are taken. Changes as for secret_file.",
    }),
    jwks_file: text({
      ...path,
      about:
        "File with a set of public keys (JWKS) of which the token names one by its `kid`. Put the next key in before " +
        "tokens use it and take the old one out when they have expired. Changes as for secret_file.",
    }),
    algorithms: list({
      pattern: new RegExp(`^(?:${tokenAlgorithms.join("|")})$`),
      allowed: `a list of ${tokenAlgorithms.join(", ")}`,
      default: tokenAlgorithms,
      about:
        "Algorithms that a token may name. Of these, only those count that fit the kind of key. `none` is never taken.",
    }),
    issuer: text({
      ...{ type: "text", pattern: /^.{0,1000}$/, allowed: "a text, or empty", default: "" },
      about: "What the claim `iss` must be. Empty: it is not looked at.",
    }),
    audience: text({
      ...{ type: "text", pattern: /^.{0,1000}$/, allowed: "a text, or empty", default: "" },
      about:
        "What the claim `aud` must be, or hold. Empty: it is not looked at, so tokens for other services with the " +
        "same key are taken.",
    }),
    clock_tolerance: duration({
      min: "0s",
      max: "10m",
      default: "5s",
      about:
        "How far the clock of whoever makes the tokens may be off, for `exp` and `nbf`. A token without `exp` is " +
        "never taken.",
    }),
    user_claim: text({
      ...{ type: "text", pattern: /^.{1,200}$/, allowed: "a name of a claim", default: "sub" },
      about: "The claim that holds the user name. A token without it is refused.",
    }),
    disconnect_on_expiry: flag({
      default: true,
      about:
        "Whether a connection ends when its token expires (v5: 0x87), plus clock_tolerance. false: who was let in " +
        "stays as long as its connection lasts.",
    }),
  })
  .prefault({});

export const http = z
  .strictObject({
    url: text({
      type: "URL",
      pattern: /^(?:https?:\/\/[^\s@?#]+(?:\?[^\s@#]*)?)?$/i,
      allowed: "an http or https URL without user name and password, or empty",
      default: "",
      about:
        "Where the service is that decides about clients: POST of JSON {clientId, user, password, address, " +
        'listener}, answered by status 200 and {"result": "allow", "deny" or "ignore"}, with allow also ' +
        '"user" (another user name) and "acl" (as in a token). Anything else refuses the client. ' +
        "Passwords go there as they are: beyond this machine use https. Redirects are not followed.",
    }),
    timeout: duration({
      min: "10ms",
      max: "1m",
      default: "2s",
      about:
        "How long the service may take for one answer. A client whose question is not answered by then is refused " +
        "(0x88, MQTT 3: 3), and counted.",
    }),
    at_once: integer({
      min: 1,
      max: 1000,
      default: 16,
      unit: "questions",
      about:
        "Questions that the service gets at the same time; further ones wait, up to auth.checks_waiting. Higher " +
        "finishes a rush of clients sooner, if the service bears it.",
    }),
    cache_allow: duration({
      min: "0s",
      max: "1d",
      default: "30s",
      about:
        "How long allow is remembered for the same client id, user name, password, address and listener; 0: not " +
        "at all. Longer spares the service, and lets those in longer whom it has locked out.",
    }),
    cache_deny: duration({
      min: "0s",
      max: "1d",
      default: "5s",
      about: "How long deny and ignore are remembered, as auth.http.cache_allow.",
    }),
    cache_entries: integer({
      min: 0,
      max: 1_000_000,
      default: 10_000,
      unit: "answers",
      about: "Most answers that are remembered (a few hundred bytes each); then the oldest goes.",
    }),
  })
  .prefault({});
