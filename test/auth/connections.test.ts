/** Tokens, the HTTP service and certificates over real connections: codes, expiry, rules, and who one is. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { SignJWT } from "jose";
import { configSchema } from "../../src/config/schema.js";
import { Authority, portOf, tlsClient } from "../net/listeners/support.js";
import { type BrokerOptions, type TestBroker, testBroker } from "../support/front-end.js";
import { MqttClient, type Version } from "../support/mqtt-client.js";
import { wire } from "../spec/strict-wire.js";
import { TestUsers } from "./support.js";

const secret = "t".repeat(40);

/** A token for anna that is valid for so long, and up to a second more: `exp` is whole. */
function token(seconds: number, claims: object = {}): Promise<string> {
  const exp = Math.ceil(Date.now() / 1000 + seconds);
  const signer = new SignJWT({ sub: "anna", ...claims, exp }).setProtectedHeader({ alg: "HS256" });
  return signer.sign(Buffer.from(secret));
}

function withAuth(t: TestContext, auth: object, more: BrokerOptions = {}): Promise<TestBroker> {
  const { auth: parsed } = configSchema.parse({ auth: { anonymous: false, ...auth } });
  return testBroker(t, { ...more, settings: { ...more.settings, auth: parsed } });
}

function withTokens(t: TestContext, jwt: object = {}): Promise<TestBroker> {
  const folder = mkdtempSync(join(tmpdir(), "trellis-tokens-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, "secret");
  writeFileSync(file, secret);
  return withAuth(t, {
    methods: ["jwt"],
    jwt: { secret_file: file, clock_tolerance: "0s", ...jwt },
  });
}

const username = "device";

for (const version of [4, 5] as const) {
  test(`version ${version}: a connection ends when its token expires`, async (t) => {
    const { port, frontEnd } = await withTokens(t);
    const password = Buffer.from(await token(1));
    const client = await MqttClient.connect(t, port, {
      version,
      clientId: "c",
      username,
      password,
    });
    assert.equal(frontEnd.sessions.get("c")?.user, "anna");
    await client.closed();
    const [last] = client.packets;
    if (version === 4) assert.equal(last, undefined);
    else assert.deepEqual(last?.cmd === "disconnect" && last.reasonCode, 0x87);
    const late = await MqttClient.open(t, port);
    const { reasonCode, returnCode } = await late.handshake({ version, username, password });
    assert.equal(reasonCode ?? returnCode, version === 4 ? 4 : 0x86);
    assert.deepEqual(frontEnd.authenticator.counters.refusedToken, { expired: 1 });
  });
}

test("without disconnect_on_expiry a connection outlives its token", async (t) => {
  const { port } = await withTokens(t, { disconnect_on_expiry: false });
  const password = Buffer.from(await token(0.1));
  const client = await MqttClient.connect(t, port, { username, password });
  const other = Buffer.from(await token(0.1));
  // A connection of the same age would be closed by the time that the token is refused.
  for (let code = 0; code === 0; ) {
    const again = await MqttClient.open(t, port);
    code = (await again.handshake({ username, password: other })).returnCode ?? 0;
  }
  await client.quiet();
});

test("a connection that ends before its token leaves nothing behind", async (t) => {
  const { port, frontEnd } = await withTokens(t);
  const password = Buffer.from(await token(0.5));
  const client = await MqttClient.connect(t, port, { clientId: "c", username, password });
  client.send({ cmd: "disconnect" });
  await client.closed();
  const next = Buffer.from(await token(100));
  const again = await MqttClient.connect(t, port, { clientId: "c", username, password: next });
  await new Promise((resolve) => setTimeout(resolve, 1600));
  await again.quiet();
  assert.equal(frontEnd.connected, 1);
});

test("rules of a token hold for its client", async (t) => {
  const { port } = await withTokens(t);
  const acl = [{ permission: "allow", action: "subscribe", topic: "own/%u/#" }];
  const password = Buffer.from(await token(100, { acl }));
  const client = await MqttClient.connect(t, port, { version: 5, username, password });
  assert.equal(await client.subscribe("own/anna/a", 0), 0);
  assert.equal(await client.subscribe("other", 0), 0x87);
  const will = { topic: "w", payload: Buffer.from("x"), qos: 0, retain: false } as const;
  const willing = await MqttClient.open(t, port);
  const connack = await willing.handshake({ version: 5, username, password, will });
  assert.equal(connack.reasonCode, 0x87);
});

test("MQTT 5: a token without a user name gets in", async (t) => {
  const { port, frontEnd } = await withTokens(t);
  const password = await token(100);
  const client = await MqttClient.open(t, port);
  client.version = 5;
  const bytes = wire(`10['MQTT' 05 42 0000 {} 'c' '${password}']`, 5);
  assert.equal((await client.handshakeRaw([...bytes])).reasonCode, 0);
  assert.equal(frontEnd.sessions.get("c")?.user, "anna");
});

test("the HTTP service hears of the listener and the client's address, and its failure is 0x88", async (t) => {
  const asked: { clientId: string; address: string; listener: string }[] = [];
  let status = 200;
  const server = createServer(async (request, response) => {
    asked.push(JSON.parse(Buffer.concat(await request.toArray()).toString()));
    response.writeHead(status).end('{"result":"allow","user":"anna"}');
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close().closeAllConnections());
  // It listens on TCP.
  const { port: servicePort } = server.address() as AddressInfo;
  const http = { url: `http://127.0.0.1:${servicePort}/`, cache_allow: "0s" };
  const { port, frontEnd } = await withAuth(t, { methods: ["http"], http });
  await MqttClient.connect(t, port, { clientId: "c", username });
  assert.equal(frontEnd.sessions.get("c")?.user, "anna");
  assert.match(asked[0]?.address ?? "", /^127\.0\.0\.1:\d+$/);
  assert.deepEqual([asked[0]?.clientId, asked[0]?.listener], ["c", "tcp"]);
  status = 500;
  const codes: [Version, number][] = [
    [3, 3],
    [4, 3],
    [5, 0x88],
  ];
  for (const [version, code] of codes) {
    const client = await MqttClient.open(t, port);
    const { reasonCode, returnCode } = await client.handshake({ version, username });
    assert.equal(reasonCode ?? returnCode, code);
    await client.closed();
  }
});

test("a certificate's common name is the user, before any method is asked, and rules know it", async (t) => {
  const authority = new Authority(t);
  const tls = {
    ...{ enabled: true, port: 0, ...authority.issue("/CN=localhost"), ca: authority.certificate },
    ...{ client_certificates: "optional", use_identity_as_username: true },
  };
  const users = new TestUsers();
  const broker = await withAuth(t, {}, { users, settings: { listeners: { tls } } });
  const port = portOf(broker, "tls");
  const options = authority.clientOptions(authority.issue("/CN=device-7"));
  const device = await tlsClient(t, port, options);
  const shown = { clientId: "c", username: "root", password: Buffer.from("wrong") };
  assert.equal((await device.handshake(shown)).returnCode, 0);
  assert.equal(broker.frontEnd.sessions.get("c")?.user, "device-7");
  const { counters } = broker.frontEnd.authenticator;
  assert.deepEqual([counters.certificatesAccepted, counters.refusedUnknownUser], [1, 0]);
  const none = await tlsClient(t, port, authority.clientOptions());
  assert.equal((await none.handshake({ ...shown, clientId: "d" })).returnCode, 4);
  assert.equal(counters.refusedUnknownUser, 1);
});
