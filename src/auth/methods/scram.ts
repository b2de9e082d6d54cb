/**
 * SCRAM-SHA-256, the server's side (RFC 5802, RFC 7677), without channel binding. An unknown user gets a
 * salt like any other and fails at the proof, so that nobody can ask which users exist.
 */
import { timingSafeEqual } from "node:crypto";
import type { EnhancedMethod, Exchange, MethodParts, Step } from "../exchange.js";
import { isPrepared, utf8Text } from "../saslprep.js";
import { hmac, keyBytes, sha256, type Verifier } from "../verifier.js";

/** Errors of RFC 5802 section 7 that this side can find. */
type ScramError =
  | "invalid-encoding"
  | "extensions-not-supported"
  | "invalid-proof"
  | "channel-bindings-dont-match"
  | "channel-binding-not-supported"
  | "invalid-username-encoding"
  | "other-error";

/** Longest message taken: a name, a nonce and a proof need far less. */
const messageBytesMax = 2048;
const nonceBytes = 18;

const none = Buffer.alloc(0);
/** Printable ASCII without the comma. */
const nonceText = "[\\x21-\\x2b\\x2d-\\x7e]+";
const extensions = "(?:,[A-Za-z]=[^,\\0]+)*";
/** Channel binding flag, authorization identity, then the bare message: name and nonce. */
const clientFirst = new RegExp(
  `^([ny]|p=[A-Za-z0-9.-]+),(?:a=([^,\\0]+))?,(m=[^,\\0]+,)?(n=([^,\\0]*),r=(${nonceText})${extensions})$`,
  "u",
);
/** Everything but the proof: channel binding, nonce; then the proof. */
const clientFinal = new RegExp(
  `^(c=([A-Za-z0-9+/=]+),r=(${nonceText})${extensions}),p=([A-Za-z0-9+/]+={0,2})$`,
  "u",
);

export const scramSha256: EnhancedMethod = { begin: (parts) => new ScramServer(parts) };

/** What the first message settled. */
interface Begun {
  readonly user: string;
  readonly verifier: Verifier;
  /** Flag and identity as the client sent them, which its last message repeats. */
  readonly header: string;
  readonly nonce: string;
  /** The two messages so far, as the proof covers them. */
  readonly covered: string;
}

class ScramServer implements Exchange {
  private begun: Begun | null = null;
  private asked = false;

  constructor(private readonly parts: MethodParts) {}

  step(data: Buffer): Step {
    if (data.length > messageBytesMax) return failure("other-error");
    const text = utf8Text(data);
    if (text === null) return failure("invalid-encoding");
    if (this.begun !== null) return finish(this.begun, text);
    if (text === "" && !this.asked) {
      // SCRAM begins at the client; one that sent no data with its CONNECT is asked for it (RFC 4422).
      this.asked = true;
      return { kind: "continue", data: none };
    }
    return this.begin(text);
  }

  private begin(text: string): Step {
    const match = clientFirst.exec(text);
    if (match === null) return failure("invalid-encoding");
    const [, flag = "", identity, mandatory, bare = "", name = "", clientNonce = ""] = match;
    if (flag.startsWith("p")) return failure("channel-binding-not-supported");
    if (mandatory !== undefined) return failure("extensions-not-supported");
    const user = nameOf(name);
    if (user === null) return failure("invalid-username-encoding");
    // To act for somebody else is not offered.
    if (identity !== undefined && nameOf(identity) !== user) return failure("other-error");
    const { users, random } = this.parts;
    const verifier = users.find(user)?.verifier ?? users.standIn(user);
    const nonce = clientNonce + random.bytes(nonceBytes).toString("base64");
    const answer = `r=${nonce},s=${verifier.salt.toString("base64")},i=${verifier.iterations}`;
    const header = text.slice(0, text.length - bare.length);
    this.begun = { user, verifier, header, nonce, covered: `${bare},${answer}` };
    return { kind: "continue", data: Buffer.from(answer) };
  }
}

function finish({ user, verifier, header, nonce, covered }: Begun, text: string): Step {
  const match = clientFinal.exec(text);
  if (match === null) return failure("invalid-encoding");
  const [, withoutProof = "", binding = "", theirNonce = "", proofText = ""] = match;
  if (binding !== Buffer.from(header).toString("base64")) {
    return failure("channel-bindings-dont-match");
  }
  if (theirNonce !== nonce) return failure("other-error");
  const proof = Buffer.from(proofText, "base64");
  if (proof.length !== keyBytes || proof.toString("base64") !== proofText) {
    return failure("invalid-encoding");
  }
  const message = `${covered},${withoutProof}`;
  const signature = hmac(verifier.storedKey, message);
  const clientKey = Buffer.alloc(keyBytes);
  for (let i = 0; i < keyBytes; i++) clientKey[i] = (proof[i] ?? 0) ^ (signature[i] ?? 0);
  if (!timingSafeEqual(sha256(clientKey), verifier.storedKey)) return failure("invalid-proof");
  const answer = `v=${hmac(verifier.serverKey, message).toString("base64")}`;
  return { kind: "success", data: Buffer.from(answer), user };
}

/** A name without its escapes; null: wrong escapes, or text that is not prepared. */
function nameOf(text: string): string | null {
  if (/=(?!2C|3D)/.test(text)) return null;
  const name = text.replaceAll("=2C", ",").replaceAll("=3D", "=");
  return name !== "" && isPrepared(name) ? name : null;
}

function failure(error: ScramError): Step {
  return { kind: "failure", data: Buffer.from(`e=${error}`), why: error };
}
