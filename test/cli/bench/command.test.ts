/** `broker bench` against brokers that run here, and against some that do not do what they owe. */
import assert from "node:assert/strict";
import { createServer, type Server } from "node:net";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { Aedes } from "aedes";
import { Authority, portOf } from "../../net/listeners/support.js";
import { testBroker } from "../../support/front-end.js";
import { fakeDependencies } from "../fake-node.js";
import { Place } from "../support.js";

async function listening(t: TestContext, server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  const address = server.address();
  assert.ok(typeof address === "object" && address !== null);
  return address.port;
}

/** A broker in this process that lets in anna with her password only. */
async function startBroker(t: TestContext): Promise<{ port: string; broker: Aedes }> {
  const broker = await Aedes.createBroker({
    authenticate: (_client, user, password, done) =>
      done(null, user === undefined || (user === "anna" && String(password) === "secret")),
  });
  const port = await listening(t, createServer(broker.handle));
  t.after(() => broker.close());
  return { port: String(port), broker };
}

interface Answer {
  readonly stopped: boolean;
  readonly cases: readonly {
    readonly name: string;
    readonly failed?: string;
    readonly load?: { readonly delivered: number; readonly lost: number; readonly maxMs: number };
    readonly connects?: { readonly clients: number; readonly connectsPerSecond: number };
  }[];
  readonly complaints: readonly string[];
}

test("a table with a line for each case, and exit code 0 when all is well", async (t) => {
  const { port } = await startBroker(t);
  const place = new Place(t, fakeDependencies());
  const words = ["bench", "--port", port, "--seconds", "1", "--rate", "200"];
  const { code, output, errors } = await place.run([...words, "--cases", "qos1,latency,connect"]);
  assert.deepEqual([code, errors], [0, ""], output);
  assert.match(output, /^case +per second +MB\/s +p50 ms/);
  assert.match(output, /\n1 → 1, QoS 1, 100 in flight +[\d,]+ /);
  assert.match(output, /\n10 → 10, QoS 1, 200 msg\/s +\d+ /);
  assert.match(output, /\n1000 connects +[\d,]+ /);
});

test("MQTT 3.1 and 5, TLS, another node, and one JSON document", async (t) => {
  const authority = new Authority(t);
  const tls = { enabled: true, port: 0, ...authority.issue("/CN=localhost") };
  const broker = await testBroker(t, { settings: { listeners: { tls } } });
  const place = new Place(t, fakeDependencies());
  const encrypted = [...["--host", "localhost", "--port", String(portOf(broker, "tls"))], "--tls"];
  const trusted = [...encrypted, "--ca", authority.certificate];
  const plain = ["--port", String(broker.port), "--other", `127.0.0.1:${broker.port}`];
  const runs = [
    [...plain, "--version", "3", "--cases", "cluster-qos1"],
    [...plain, "--version", "5", "--cases", "cluster-qos0"],
    [...trusted, "--version", "5", "--cases", "qos2"],
    [...encrypted, "--insecure", "--cases", "qos1"],
  ];
  for (const words of runs) {
    const { code, output } = await place.run(["bench", ...words, "--json", "--seconds", "1"]);
    assert.equal(code, 0, output);
    const { cases, complaints, stopped }: Answer = JSON.parse(output);
    assert.deepEqual([complaints, stopped], [[], false]);
    assert.ok((cases[0]?.load?.delivered ?? 0) > 0 && (cases[0]?.load?.maxMs ?? 0) > 0);
  }
  const stranger = await place.run(["bench", ...encrypted, "--cases", "qos0"]);
  assert.equal(stranger.code, 1);
  assert.match(
    stranger.errors,
    /^Error: no client gets in at localhost:\d+: .*(certificate|issuer)/,
  );
});

test("a user with a password, and one who is refused", async (t) => {
  const { port } = await startBroker(t);
  const place = new Place(t, fakeDependencies());
  const file = join(place.folder, "password");
  writeFileSync(file, "secret\n");
  const words = ["bench", "--port", port, "--user", "anna", "--cases", "connect"];
  assert.equal((await place.run([...words, "--password-file", file])).code, 0);
  const wrong = await place.run([...words, "--password", "wrong"]);
  assert.equal(wrong.code, 1);
  assert.match(
    wrong.errors,
    /^Error: no client gets in at 127\.0\.0\.1:\d+: CONNACK refused: code \d$/,
  );
  assert.equal(wrong.output, "");
});

test("what is lost with QoS 1 is said, and exit code 1", async (t) => {
  const { port, broker } = await startBroker(t);
  let count = 0;
  broker.authorizeForward = (_client, packet) => {
    return ++count % 50 === 0 ? null : packet;
  };
  const place = new Place(t, fakeDependencies());
  const words = ["bench", "--port", port, "--cases", "qos1", "--seconds", "1"];
  const { code, output } = await place.run(words);
  assert.equal(code, 1);
  assert.match(output, /\n1 → 1, QoS 1, 100 in flight: messages [\d,]+ lost$/);
});

test("Ctrl-C prints what there is", async (t) => {
  const { port, broker } = await startBroker(t);
  const place = new Place(t, fakeDependencies());
  // The subscriber of the second case: the first one is over.
  const subscribed = new Promise<void>((resolve) => broker.once("subscribe", () => resolve()));
  const words = ["bench", "--port", port, "--cases", "connect,qos0", "--seconds", "600"];
  const process = place.spawn([...words, "--clients", "1"]);
  await subscribed;
  process.kill("SIGINT");
  assert.equal(await process.ended, 1, process.errors);
  assert.match(process.output, /\n10 connects +\d/);
  assert.match(process.output, /\nStopped: the other cases are missing\.\n$/);
});

test("wrong usage is refused with a sentence", async (t) => {
  const place = new Place(t, fakeDependencies());
  const refusal = async (...words: string[]): Promise<string> => {
    const { code, errors, output } = await place.run(["bench", ...words]);
    assert.deepEqual([code, output], [2, ""], words.join(" "));
    return errors;
  };
  assert.match(await refusal("--cases", "qos3"), /'qos3' is none of qos0, qos1/);
  assert.match(await refusal("--cases", "cluster-qos0"), /needs --other HOST:PORT/);
  assert.match(await refusal("--version", "6"), /--version must be 3/);
  assert.match(await refusal("--other", "here"), /--other must be HOST:PORT/);
  assert.match(await refusal("--seconds", "0"), /--seconds must be a whole number from 1 to 600/);
  assert.match(await refusal("--payload", "2"), /--payload must be a whole number from 12/);
  assert.match(await refusal("--password", "x"), /a password needs --user/);
  assert.match(await refusal("--insecure"), /belong to --tls/);
  assert.match(await refusal("--pid", "x"), /--pid must be process ids/);
  const missing = await place.run(["bench", "--tls", "--ca", "/nowhere"]);
  assert.deepEqual([missing.code, /cannot be read/.test(missing.errors)], [1, true]);
});
