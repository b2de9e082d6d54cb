/** The proof of the cookie: whoever changes, replays or reflects a byte is not let in. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  AcceptorHandshake,
  type AcceptorStep,
  DialerHandshake,
  type DialerResult,
  type Identity,
  Purpose,
  RefuseCode,
} from "../../src/cluster/handshake.js";
import { frameHeaderBytes, WireError } from "../../src/cluster/wire/frames.js";
import { seededRandom } from "../../src/lib/random.js";

const identityOf = (name: string, more: Partial<Identity> = {}): Identity => ({
  incarnation: 1_798_761_600_000,
  wallMs: 1_798_761_600_123,
  id: "0123456789abcdef0123456789abcdef",
  token: Buffer.alloc(16),
  name,
  host: "host.example",
  port: 4370,
  ...more,
});

const a = identityOf("a@ha");
const b = identityOf("b@hb", { id: "f".repeat(32), port: 4371 });

interface Options {
  readonly cookies?: readonly [dialer: string, acceptor: string];
  readonly purpose?: 0 | 1 | 2 | 3;
  /** May change a frame (type and body) on its way. */
  readonly onTheWay?: (step: "hello" | "challenge" | "proof" | "last", frame: Buffer) => Buffer;
  readonly refuse?: { readonly code: 3; readonly detail: string };
}

type Outcome = { readonly acceptor: AcceptorStep | null; readonly dialer: DialerResult | null };

/** A whole handshake; a WireError at either side closes the connection: nobody learns anything. */
function shake(options: Options = {}): Outcome {
  const [dialerCookie, acceptorCookie] = options.cookies ?? ["secret", "secret"];
  const way = options.onTheWay ?? ((_step, bytes) => bytes);
  const dialer = new DialerHandshake(
    dialerCookie,
    a,
    options.purpose ?? Purpose.control,
    seededRandom(1),
  );
  const acceptor = new AcceptorHandshake(acceptorCookie, seededRandom(2));
  let proved: AcceptorStep | null = null;
  try {
    const challenge = acceptor.take(...cut(way("hello", dialer.first())));
    if (challenge.kind !== "send" && challenge.kind !== "version") return none;
    const proof = dialer.take(...cut(way("challenge", challenge.bytes)));
    if (!Buffer.isBuffer(proof)) return { acceptor: null, dialer: proof };
    const step = acceptor.take(...cut(way("proof", proof)));
    if (step.kind === "proved") proved = step;
    const last = lastFrame(acceptor, step, options.refuse);
    const result = dialer.take(...cut(way("last", last)));
    return { acceptor: proved, dialer: Buffer.isBuffer(result) ? null : result };
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    return { acceptor: proved, dialer: null };
  }
}

const none: Outcome = { acceptor: null, dialer: null };

function lastFrame(
  acceptor: AcceptorHandshake,
  step: AcceptorStep,
  refuse: Options["refuse"],
): Buffer {
  if (step.kind === "proved") return refuse ? acceptor.refuse(refuse) : acceptor.welcome(b);
  assert.equal(step.kind, "wrong-cookie");
  return step.kind === "wrong-cookie" ? step.bytes : Buffer.alloc(0);
}

const cut = (frame: Buffer): [type: number, body: Buffer] => [
  frame[4] ?? 0,
  frame.subarray(frameHeaderBytes),
];

test("both sides prove the cookie and learn who the other is", () => {
  for (const purpose of [0, 1, 2, 3] as const) {
    const { acceptor, dialer } = shake({ purpose });
    assert.deepEqual(acceptor, { kind: "proved", peer: a, purpose });
    assert.deepEqual(dialer, { kind: "welcome", peer: b });
  }
});

test("identities of every length and character arrive as they were", () => {
  const text = fc.string({ unit: "binary", maxLength: 150 });
  const identity = fc.record({
    incarnation: fc.maxSafeNat(),
    wallMs: fc.maxSafeNat(),
    id: fc.uint8Array({ minLength: 16, maxLength: 16 }),
    token: fc.uint8Array({ minLength: 16, maxLength: 16 }),
    name: text,
    host: text,
    port: fc.integer({ min: 0, max: 65_535 }),
  });
  fc.assert(
    fc.property(identity, ({ id, token, ...rest }) => {
      const own = { ...rest, id: Buffer.from(id).toString("hex"), token: Buffer.from(token) };
      const dialer = new DialerHandshake("c", own, Purpose.data, seededRandom(3));
      const acceptor = new AcceptorHandshake("c", seededRandom(4));
      const challenge = acceptor.take(...cut(dialer.first()));
      assert.ok(challenge.kind === "send");
      const proof = dialer.take(...cut(challenge.bytes));
      assert.ok(Buffer.isBuffer(proof));
      assert.deepEqual(acceptor.take(...cut(proof)), { kind: "proved", peer: own, purpose: 1 });
    }),
    { numRuns: 200 },
  );
});

test("another cookie: the acceptor refuses, the dialer learns that and no more", () => {
  const { acceptor, dialer } = shake({ cookies: ["one", "two"] });
  assert.equal(acceptor, null);
  assert.deepEqual(dialer, {
    kind: "refused",
    answer: { code: RefuseCode.wrongCookie, detail: "" },
  });
});

test("a refusal with a reason arrives with its reason", () => {
  const refuse = { code: RefuseCode.removed, detail: "some detail" } as const;
  assert.deepEqual(shake({ refuse }).dialer, { kind: "refused", answer: refuse });
});

test("whichever byte of whichever frame is changed, nobody is let in", () => {
  for (const step of ["hello", "challenge", "proof", "last"] as const) {
    let length = 0;
    shake({
      onTheWay: (at, bytes) => {
        if (at === step) length = bytes.length;
        return bytes;
      },
    });
    for (let position = 4; position < length; position++) {
      for (const flip of [1, 0x80]) {
        const onTheWay = (at: string, bytes: Buffer): Buffer => {
          if (at !== step) return bytes;
          const changed = Buffer.from(bytes);
          changed[position] = (changed[position] ?? 0) ^ flip;
          return changed;
        };
        const { acceptor, dialer } = shake({ onTheWay });
        const where = `${step} byte ${position}`;
        assert.notEqual(dialer?.kind, "welcome", where);
        // The last frame is the acceptor's own: it has let in whoever proved the cookie by then.
        if (step !== "last") assert.equal(acceptor, null, where);
      }
    }
  }
});

test("a refusal that was changed is no reason to believe: it counts as a wrong cookie", () => {
  const refuse = { code: RefuseCode.removed, detail: "some detail" } as const;
  for (let position = 5; position < 5 + 3 + refuse.detail.length + 32; position++) {
    const onTheWay = (step: string, bytes: Buffer): Buffer => {
      if (step === "last") bytes[position] = (bytes[position] ?? 0) ^ 1;
      return bytes;
    };
    const { dialer } = shake({ refuse, onTheWay });
    if (dialer === null) continue;
    assert.ok(dialer.kind === "refused");
    assert.notEqual(dialer.answer.code, RefuseCode.removed);
  }
});

test("frames that are cut off or longer are refused", () => {
  for (const step of ["hello", "challenge", "proof", "last"] as const) {
    for (const change of [
      (bytes: Buffer) => bytes.subarray(0, bytes.length - 1),
      (bytes: Buffer) => bytes.subarray(0, 6),
      (bytes: Buffer) => Buffer.concat([bytes, Buffer.alloc(1)]),
    ]) {
      const onTheWay = (at: string, bytes: Buffer): Buffer => (at === step ? change(bytes) : bytes);
      assert.notEqual(shake({ onTheWay }).dialer?.kind, "welcome", step);
    }
  }
});

test("the dialer's own proof, reflected, does not let the reflector in", () => {
  const dialer = new DialerHandshake("secret", a, Purpose.control, seededRandom(1));
  // Somebody without the cookie answers with a challenge of its own and sends the proof back.
  const challenge = Buffer.alloc(3 + 32, 5);
  challenge.set([1, 1, 1]);
  const proof = dialer.take(2, challenge);
  assert.ok(Buffer.isBuffer(proof));
  const result = dialer.take(4, proof.subarray(frameHeaderBytes));
  assert.deepEqual(result, {
    kind: "refused",
    answer: { code: RefuseCode.wrongCookie, detail: "" },
  });
  const asRefusal = dialer.take(5, proof.subarray(frameHeaderBytes));
  assert.deepEqual(asRefusal, {
    kind: "refused",
    answer: { code: RefuseCode.wrongCookie, detail: "" },
  });
});

test("a handshake that was recorded proves nothing the next time: nonces differ", () => {
  const frames: Buffer[] = [];
  shake({
    onTheWay: (_step, bytes) => {
      frames.push(Buffer.from(bytes));
      return bytes;
    },
  });
  const [hello, , proof, welcome] = frames;
  assert.ok(hello !== undefined && proof !== undefined && welcome !== undefined);
  const acceptor = new AcceptorHandshake("secret", seededRandom(77));
  assert.equal(acceptor.take(...cut(hello)).kind, "send");
  assert.equal(acceptor.take(...cut(proof)).kind, "wrong-cookie");
  const dialer = new DialerHandshake("secret", a, Purpose.control, seededRandom(78));
  dialer.take(2, Buffer.concat([Buffer.from([1, 1, 1]), Buffer.alloc(32, 9)]));
  assert.notEqual((dialer.take(...cut(welcome)) as DialerResult).kind, "welcome"); // no bytes to send
});

test("versions: none in common is said to both; the highest common one is chosen", () => {
  const withVersions = (highest: number, lowest: number) => (step: string, bytes: Buffer) => {
    if (step === "hello") bytes.set([highest, lowest], 9);
    return bytes;
  };
  const acceptor = new AcceptorHandshake("secret", seededRandom(5));
  const dialer = new DialerHandshake("secret", a, Purpose.control, seededRandom(6));
  const step = acceptor.take(...cut(withVersions(9, 9)("hello", Buffer.from(dialer.first()))));
  assert.ok(step.kind === "version");
  assert.equal(step.theirs, "9-9");
  assert.deepEqual(dialer.take(...cut(step.bytes)), {
    kind: "refused",
    answer: { code: RefuseCode.version, detail: "1-1" },
  });
  const newer = new AcceptorHandshake("secret", seededRandom(5));
  const challenge = newer.take(...cut(withVersions(3, 1)("hello", Buffer.from(dialer.first()))));
  assert.ok(challenge.kind === "send");
  assert.equal(challenge.bytes[5], 1);
});

test("frames out of their order are refused", () => {
  const acceptor = new AcceptorHandshake("secret", seededRandom(5));
  const dialer = new DialerHandshake("secret", a, Purpose.control, seededRandom(6));
  assert.throws(() => acceptor.take(3, Buffer.alloc(100)), WireError);
  acceptor.take(...cut(dialer.first()));
  assert.throws(() => acceptor.take(...cut(dialer.first())), WireError);
  assert.throws(() => acceptor.take(16, Buffer.alloc(0)), WireError);
  assert.throws(() => dialer.take(4, Buffer.alloc(200)), WireError);
  assert.throws(() => dialer.take(64, Buffer.alloc(200)), WireError);
});

test("random bodies never throw anything but WireError", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 255 }),
      fc.uint8Array({ maxLength: 300 }),
      (type, body) => {
        for (const side of [
          new AcceptorHandshake("secret", seededRandom(5)),
          new DialerHandshake("secret", a, Purpose.control, seededRandom(6)),
        ]) {
          try {
            side.take(type, Buffer.from(body));
          } catch (error) {
            assert.ok(error instanceof WireError, String(error));
          }
        }
      },
    ),
    { numRuns: 500 },
  );
});
