/** A whole node with users: ctl, MQTT.js, a restart, metrics, and a log without secrets. */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { SignJWT } from "jose";
import mqtt from "mqtt";
import type { Broker } from "../../src/broker.js";
import { settingsOf, type WholeNode, wholeNode } from "./whole-node.js";

/** Everything that must be seen nowhere has one of these words in it. */
const tokenSecret = "hush ".repeat(8);
const secrets = /hush|topsecret|wrongsecret|filesecret/i;

function place(t: TestContext, flags: readonly string[] = []): WholeNode {
  const node = wholeNode(t, ["auth.anonymous=false", ...flags]);
  writeFileSync(join(node.folder, "token.secret"), tokenSecret);
  return node;
}

/** 0, or the code of the refusal. */
async function connect(t: TestContext, broker: Broker, version: 4 | 5, password: string) {
  const port = broker.report.listeners[0]?.port ?? 0;
  const options = { protocolVersion: version, username: "anna", password, reconnectPeriod: 0 };
  try {
    const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${port}`, options);
    t.after(() => client.endAsync(true));
    return 0;
  } catch (error) {
    assert.ok(error instanceof Error && "code" in error);
    return error.code;
  }
}

test("users come and go while the node runs, and outlive it", async (t) => {
  const { start, ctl, lines } = place(t);
  const first = await start();
  assert.equal(await connect(t, first, 5, "top secret"), 0x86);
  assert.equal(
    await ctl("users add", { name: "anna", password: "top secret" }),
    "The user anna has been added",
  );
  assert.equal(await connect(t, first, 5, "top secret"), 0);
  assert.equal(await connect(t, first, 4, "top secret"), 0);
  assert.equal(await connect(t, first, 4, "not so secret"), 4);
  assert.equal(
    await ctl("users add", { name: "anna", password: "x" }),
    "there is a user of this name already",
  );
  assert.match(await ctl("clients list"), /anna/);
  const metrics = first.parts.metrics();
  assert.deepEqual(
    ["passwords_accepted", "refused_unknown_user", "refused_wrong_password"].map(
      (counter) => metrics[`auth.${counter}`],
    ),
    [2, 1, 1],
  );
  assert.equal(metrics["users.held"], 1);
  await first.stop();
  const second = await start();
  assert.equal(await connect(t, second, 5, "top secret"), 0);
  await ctl("users passwd", { name: "anna", password: "another" });
  assert.equal(await connect(t, second, 5, "top secret"), 0x86);
  assert.equal(await connect(t, second, 5, "another"), 0);
  await ctl("users delete", { name: "anna" });
  assert.equal(await connect(t, second, 5, "another"), 0x86);
  assert.ok(lines.length > 0 && !/secret|another/.test(lines.join("")));
});

test("a node with a broken users file does not start, and says why", async (t) => {
  const { start, folder } = place(t);
  writeFileSync(join(folder, "users.json"), "{");
  await assert.rejects(start(), /the users file .*users\.json cannot be used: it is no JSON/);
});

/** A service that lets those in who show "topsecret http", and knows nothing of others. */
async function service(t: TestContext): Promise<string> {
  const server = createServer(async (request, response) => {
    const body = Buffer.concat(await request.toArray()).toString();
    if (body.includes("topsecret broken")) response.writeHead(500).end(body);
    else response.end(`{"result":"${body.includes("topsecret http") ? "allow" : "ignore"}"}`);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close().closeAllConnections());
  // It listens on TCP.
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}

async function signed(key: string): Promise<string> {
  const signer = new SignJWT({ sub: "bert" }).setProtectedHeader({ alg: "HS256" });
  return signer.setExpirationTime("1h").sign(Buffer.from(key));
}

test("no secret of any method is in the log at its finest, in an answer of ctl or in a file", async (t) => {
  const { start, ctl, lines, folder } = place(t, [
    "auth.methods=jwt,http,password,SCRAM-SHA-256",
    `auth.http.url=${await service(t)}`,
    "auth.jwt.secret_file=token.secret",
  ]);
  const broker = await start();
  const answers = [
    await ctl("log level", { level: "trace" }),
    await ctl("users add", { name: "anna", password: "filesecret" }),
    await ctl("users add", { name: "anna", password: "filesecret" }),
    await ctl("users add", { name: "carl", password: "filesecret\u00a0" }),
    await ctl("users import", { file: "carl:filesecret" }),
    await ctl("users add", { nam: "carl", password: "filesecret" }),
  ];
  const right = await signed(tokenSecret);
  const tokens = [right, await signed(`${tokenSecret}x`)];
  const shown: [string, number][] = [
    ...[["filesecret", 0] as [string, number], ["wrongsecret", 0x86] as [string, number]],
    ...[["topsecret http", 0] as [string, number], ["topsecret broken", 0x88] as [string, number]],
    ...tokens.map((token, index): [string, number] => [token, index === 0 ? 0 : 0x86]),
  ];
  for (const [password, code] of shown) {
    assert.equal(await connect(t, broker, 5, password), code, password);
  }
  for (const command of ["clients list", "sessions list", "users list", "metrics", "report"]) {
    answers.push(await ctl(command));
  }
  const metrics = broker.parts.metrics();
  assert.equal(metrics["auth.passwords_accepted"], 3);
  assert.equal(metrics["auth.refused_token.signature"], 1);
  assert.equal(metrics["auth.refused_unavailable"], 1);
  assert.equal(metrics["auth.http.failed.status_500"], 1);
  assert.equal(metrics["auth.jwt.loaded"], 1);
  const file = readFileSync(join(folder, "users.json"), "utf8");
  const everything = [...lines, ...answers, file].join("\n");
  assert.match(everything, /"client connected"/);
  assert.equal(secrets.exec(everything)?.[0], undefined);
  for (const part of tokens.flatMap((token) => token.split("."))) {
    assert.equal(everything.includes(part), false, part);
  }
});

test("a method without what it needs is refused with the configuration", () => {
  const wrong: readonly (readonly [string[], RegExp])[] = [
    [["auth.methods=jwt"], /auth\.methods.*jwt needs exactly one of auth\.jwt\.secret_file/],
    [["auth.methods=http"], /auth\.methods.*http needs auth\.http\.url/],
    [["auth.http.url=ftp://h/"], /auth\.http\.url.*must be an http or https URL/],
    [["auth.http.url=http://u:p@h/"], /auth\.http\.url/],
    [
      ["auth.methods=jwt", "auth.jwt.secret_file=a", "auth.jwt.jwks_file=b"],
      /exactly one of auth\.jwt/,
    ],
  ];
  for (const [flags, why] of wrong) {
    assert.throws(() => settingsOf("/tmp", ["auth.anonymous=false", ...flags]), why, flags.join());
  }
});
