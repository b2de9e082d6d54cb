import assert from "node:assert/strict";
import { setImmediate as turn } from "node:timers/promises";
import { test } from "node:test";
import { silentLog } from "../../../src/lib/log.js";
import {
  Superseded,
  type SupersededHost,
  type SupersededParts,
} from "../../../src/session/superseded/superseded.js";
import {
  type Answer,
  decodeAnswer,
  decodeQuestion,
  encodeAnswer,
  encodeQuestion,
  type Question,
} from "../../../src/session/superseded/wire.js";
import { world } from "../support.js";

type Handler = (peer: string, body: Uint8Array, reply: (answer: Uint8Array | null) => void) => void;

/** The superseded sessions of node a@h in a cluster that says `later` to whatever they ask. */
function alone(): { superseded: Superseded; asked: Question[]; answer: () => Answer | null } & {
  one: ReturnType<typeof world>;
} {
  const one = world();
  const asked: Question[] = [];
  let handler: Handler = () => undefined;
  const cluster = {
    name: "a@h",
    ask: async (_node: string, _service: string, body: Uint8Array) => {
      const question = decodeQuestion(body);
      if (question !== null) asked.push(question);
      return encodeAnswer({ kind: "later" });
    },
    services: { offer: (_name: string, offered: Handler) => void (handler = offered) },
    members: { others: () => [] },
    common: { watch: () => undefined },
  };
  const host = { get: (clientId: string) => one.sessions.get(clientId), moves: null };
  const superseded = new Superseded(
    // What is used of both until something is handed over.
    host as unknown as SupersededHost,
    { cluster, clock: one.clock, log: silentLog } as unknown as SupersededParts,
  );
  const answer = (): Answer | null => {
    let said: Answer | null = null;
    const question = encodeQuestion({ kind: "begin", clientId: "c", epoch: 1 });
    handler("c@h", question, (body) => {
      said = body === null ? null : decodeAnswer(body);
    });
    return said;
  };
  return { one, superseded, asked, answer };
}

test("a session on its way to a younger one is the youngest when its client is given it: others wait, and it gives way to what comes then", async () => {
  const { one, superseded, asked, answer } = alone();
  const expiryMs = 1000_000;
  const { session } = one.connect("c", { expiryMs });
  one.disconnect("c");
  superseded.supersede("c", session.epoch + 1, "b@h");
  await turn();
  assert.equal(superseded.youngerAt("c"), "b@h");
  assert.deepEqual(answer(), { kind: "unknown" });

  one.connect("c", { expiryMs });
  assert.equal(superseded.youngerAt("c"), null);
  assert.deepEqual(answer(), { kind: "later" });
  superseded.supersede("c", session.epoch + 1, "d@h");
  assert.equal(asked.length, 1);
  one.clock.advance(1000);
  await turn();
  assert.equal(superseded.youngerAt("c"), "d@h");
  assert.equal(asked.length, 2);
});
