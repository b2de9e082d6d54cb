/**
 * Both sides prove that they know the cookie before either decodes anything else (docs/wire.md,
 * "Handshake"). Bytes and decisions go in, bytes and results come out: no socket, no clock.
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import type { Random } from "../lib/random.js";
import { frame, FrameType, WireError } from "./wire/frames.js";

export const protocolVersion = { highest: 1, lowest: 1 } as const;

export const Purpose = { control: 0, data: 1, names: 2, join: 3 } as const;
export type PurposeCode = (typeof Purpose)[keyof typeof Purpose];

/** What a side says of itself, under its mac. */
export interface Identity {
  readonly incarnation: number;
  readonly wallMs: number;
  /** Id of the data directory, 32 hexadecimal digits. */
  readonly id: string;
  /** 16 bytes; zero unless the connection is the data connection of a link. */
  readonly token: Buffer;
  readonly name: string;
  readonly host: string;
  readonly port: number;
}

export const RefuseCode = {
  wrongCookie: 1,
  version: 2,
  removed: 3,
  notMember: 4,
  nameTaken: 5,
  self: 6,
  clock: 7,
  stale: 8,
  busy: 9,
} as const;
export type RefuseCodeValue = (typeof RefuseCode)[keyof typeof RefuseCode];

export interface RefuseAnswer {
  readonly code: RefuseCodeValue;
  readonly detail: string;
}

const magic = 0x54524c53;
const nonceBytes = 32;
const macBytes = 32;
const role = { proof: 1, welcome: 2, refuse: 3 } as const;
const helloBytes = 7 + nonceBytes;
const challengeBytes = 3 + nonceBytes;

/** What the dialer learnt: `peer`, or why not. */
export type DialerResult =
  | { readonly kind: "welcome"; readonly peer: Identity }
  | { readonly kind: "refused"; readonly answer: RefuseAnswer };

/** The dialing side. */
export class DialerHandshake {
  private readonly hello: Buffer;
  private challenge: Buffer | null = null;
  private proof: Buffer | null = null;

  constructor(
    private readonly cookie: string,
    private readonly identity: Identity,
    purpose: PurposeCode,
    random: Random,
  ) {
    const body = Buffer.alloc(helloBytes);
    body.writeUInt32BE(magic, 0);
    body[4] = protocolVersion.highest;
    body[5] = protocolVersion.lowest;
    body[6] = purpose;
    random.bytes(nonceBytes).copy(body, 7);
    this.hello = frame(FrameType.hello, body);
  }

  /** The first bytes to send. */
  first(): Buffer {
    return this.hello;
  }

  /**
   * Takes one frame. Returns bytes to send, or the end.
   * @throws WireError on a frame that does not belong here
   */
  take(type: number, body: Buffer): Buffer | DialerResult {
    if (type === FrameType.challenge && this.challenge === null) return this.onChallenge(body);
    if (type === FrameType.welcome && this.proof !== null) return this.onWelcome(body);
    if (type === FrameType.refuse) return this.onRefuse(body);
    throw new WireError(`frame ${type} in the handshake`);
  }

  private onChallenge(body: Buffer): Buffer | DialerResult {
    if (body.length !== challengeBytes) throw new WireError("challenge of a wrong length");
    const [chosen = 0, highest = 0, lowest = 0] = body;
    if (chosen < protocolVersion.lowest || chosen > protocolVersion.highest) {
      const detail = `${lowest}-${highest}`;
      return { kind: "refused", answer: { code: RefuseCode.version, detail } };
    }
    this.challenge = frame(FrameType.challenge, body);
    const own = encodeIdentity(this.identity);
    const mac = macOf(this.cookie, role.proof, [this.hello, this.challenge, own]);
    this.proof = frame(FrameType.proof, Buffer.concat([own, mac]));
    return this.proof;
  }

  private onWelcome(body: Buffer): DialerResult {
    const own = body.subarray(0, Math.max(0, body.length - macBytes));
    const signed = [this.hello, this.challenge ?? own, this.proof ?? own, own];
    if (!macFits(this.cookie, role.welcome, signed, body)) {
      return { kind: "refused", answer: { code: RefuseCode.wrongCookie, detail: "" } };
    }
    return { kind: "welcome", peer: decodeIdentity(own) };
  }

  private onRefuse(body: Buffer): DialerResult {
    if (body.length < 3 + macBytes) throw new WireError("refusal cut off");
    const said = body.subarray(0, body.length - macBytes);
    const code = said[0] ?? 0;
    const detail = said.toString("utf8", 3, Math.min(said.length, 3 + said.readUInt16BE(1)));
    const signed = [this.hello, this.challenge ?? said, this.proof ?? said, said];
    // Without the mac anybody may have said it: only "your cookie is wrong" has none.
    if (!macFits(this.cookie, role.refuse, signed, body) || !isRefuseCode(code)) {
      return { kind: "refused", answer: { code: RefuseCode.wrongCookie, detail: "" } };
    }
    return { kind: "refused", answer: { code, detail } };
  }
}

/** What the accepting side has to do with a frame. */
export type AcceptorStep =
  | { readonly kind: "send"; readonly bytes: Buffer }
  /** The peer knows the cookie: answer with `welcome()` or `refuse()`. */
  | { readonly kind: "proved"; readonly peer: Identity; readonly purpose: PurposeCode }
  /** It does not: send these bytes after a pause, and close. */
  | { readonly kind: "wrong-cookie"; readonly bytes: Buffer }
  /** No common version: send these bytes and close. */
  | { readonly kind: "version"; readonly bytes: Buffer; readonly theirs: string };

/** The accepting side. */
export class AcceptorHandshake {
  private hello: Buffer | null = null;
  private challenge: Buffer = Buffer.alloc(0);
  private proof: Buffer = Buffer.alloc(0);
  private purpose: PurposeCode = Purpose.control;

  constructor(
    private readonly cookie: string,
    private readonly random: Random,
  ) {}

  /** @throws WireError on a frame that does not belong here */
  take(type: number, body: Buffer): AcceptorStep {
    if (type === FrameType.hello && this.hello === null) return this.onHello(body);
    if (type === FrameType.proof && this.hello !== null) return this.onProof(body);
    throw new WireError(`frame ${type} in the handshake`);
  }

  /** The frame that lets the proved peer in. */
  welcome(identity: Identity): Buffer {
    const own = encodeIdentity(identity);
    return frame(FrameType.welcome, Buffer.concat([own, this.mac(role.welcome, own)]));
  }

  /** The frame that refuses the proved peer, for a reason that it can trust. */
  refuse(answer: RefuseAnswer): Buffer {
    const body = refusal(answer);
    return frame(FrameType.refuse, Buffer.concat([body, this.mac(role.refuse, body)]));
  }

  private mac(which: number, body: Buffer): Buffer {
    const hello = this.hello ?? body;
    return macOf(this.cookie, which, [hello, this.challenge, this.proof, body]);
  }

  private onHello(body: Buffer): AcceptorStep {
    if (body.length !== helloBytes || body.readUInt32BE(0) !== magic) {
      throw new WireError("not a node of this protocol");
    }
    const [highest = 0, lowest = 0, purpose = 0] = body.subarray(4, 7);
    if (!isPurpose(purpose)) throw new WireError(`purpose ${purpose}`);
    this.hello = frame(FrameType.hello, body);
    this.purpose = purpose;
    const common = Math.min(highest, protocolVersion.highest);
    const known = common >= lowest && common >= protocolVersion.lowest;
    const answer = Buffer.alloc(challengeBytes);
    answer[0] = known ? common : 0;
    answer[1] = protocolVersion.highest;
    answer[2] = protocolVersion.lowest;
    this.random.bytes(nonceBytes).copy(answer, 3);
    this.challenge = frame(FrameType.challenge, answer);
    if (known) return { kind: "send", bytes: this.challenge };
    return { kind: "version", bytes: this.challenge, theirs: `${lowest}-${highest}` };
  }

  private onProof(body: Buffer): AcceptorStep {
    const own = body.subarray(0, Math.max(0, body.length - macBytes));
    const signed = [this.hello ?? own, this.challenge, own];
    if (!macFits(this.cookie, role.proof, signed, body)) {
      const said = refusal({ code: RefuseCode.wrongCookie, detail: "" });
      const bytes = frame(FrameType.refuse, Buffer.concat([said, Buffer.alloc(macBytes)]));
      return { kind: "wrong-cookie", bytes };
    }
    this.proof = frame(FrameType.proof, body);
    return { kind: "proved", peer: decodeIdentity(own), purpose: this.purpose };
  }
}

function macOf(cookie: string, which: number, parts: readonly Buffer[]): Buffer {
  const hmac = createHmac("sha256", cookie).update("trellis-link").update(Buffer.of(which));
  for (const part of parts) hmac.update(part);
  return hmac.digest();
}

function macFits(cookie: string, which: number, parts: readonly Buffer[], body: Buffer): boolean {
  if (body.length < macBytes) return false;
  return timingSafeEqual(macOf(cookie, which, parts), body.subarray(body.length - macBytes));
}

function refusal({ code, detail }: RefuseAnswer): Buffer {
  const text = Buffer.from(detail, "utf8");
  const head = Buffer.alloc(3);
  head[0] = code;
  head.writeUInt16BE(text.length, 1);
  return Buffer.concat([head, text]);
}

function encodeIdentity(identity: Identity): Buffer {
  const fixed = Buffer.alloc(48);
  fixed.writeDoubleBE(identity.incarnation, 0);
  fixed.writeDoubleBE(identity.wallMs, 8);
  fixed.write(identity.id, 16, "hex");
  identity.token.copy(fixed, 32);
  const port = Buffer.alloc(2);
  port.writeUInt16BE(identity.port, 0);
  return Buffer.concat([fixed, str16(identity.name), str16(identity.host), port]);
}

function str16(text: string): Buffer {
  const bytes = Buffer.from(text, "utf8");
  const length = Buffer.alloc(2);
  length.writeUInt16BE(bytes.length, 0);
  return Buffer.concat([length, bytes]);
}

/** Only ever called on bytes whose mac was right. */
function decodeIdentity(bytes: Buffer): Identity {
  const nameEnd = endOfText(bytes, 48);
  const hostEnd = endOfText(bytes, nameEnd);
  if (bytes.length !== hostEnd + 2) throw new WireError("identity of a wrong length");
  return {
    incarnation: bytes.readDoubleBE(0),
    wallMs: bytes.readDoubleBE(8),
    id: bytes.toString("hex", 16, 32),
    token: Buffer.from(bytes.subarray(32, 48)),
    name: bytes.toString("utf8", 50, nameEnd),
    host: bytes.toString("utf8", nameEnd + 2, hostEnd),
    port: bytes.readUInt16BE(hostEnd),
  };
}

function endOfText(bytes: Buffer, at: number): number {
  if (at + 2 > bytes.length) throw new WireError("identity of a wrong length");
  return at + 2 + bytes.readUInt16BE(at);
}

const isPurpose = (code: number): code is PurposeCode => code <= Purpose.join;
const isRefuseCode = (code: number): code is RefuseCodeValue =>
  code >= RefuseCode.wrongCookie && code <= RefuseCode.busy;
