/** MQTT over TLS: certificates by name, of clients, and new ones while the node runs. */
import assert from "node:assert/strict";
import { copyFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type { ConnectionOptions } from "node:tls";
import { type TestBroker, testBroker } from "../../support/front-end.js";
import { eventually, MqttClient } from "../../support/mqtt-client.js";
import { Authority, folder, LogLines, openTls, type Pair, portOf, tlsClient } from "./support.js";

function tlsBroker(t: TestContext, tls: object, log = new LogLines()): Promise<TestBroker> {
  return testBroker(t, {
    settings: { listeners: { tls: { enabled: true, port: 0, ...tls } } },
    log,
  });
}

/** The common name of the certificate that the server shows. */
async function shown(t: TestContext, port: number, options: ConnectionOptions): Promise<string> {
  const socket = await openTls(t, port, options);
  const { CN } = socket.getPeerCertificate().subject;
  socket.destroy();
  return String(CN);
}

test("publish and subscribe over TLS 1.2 and 1.3, with payloads larger than a record", async (t) => {
  const authority = new Authority(t);
  const broker = await tlsBroker(t, authority.issue("/CN=localhost"));
  const port = portOf(broker, "tls");
  for (const maxVersion of ["TLSv1.2", "TLSv1.3"] as const) {
    const client = await tlsClient(t, port, { ...authority.clientOptions(), maxVersion });
    await client.handshake({ version: 5 });
    await client.subscribe("t", 1);
    for (const bytes of [1, 10_000, 200_000]) {
      client.publish("t", Buffer.alloc(bytes, 7), { qos: 1, messageId: 9 });
      const kinds = [await client.next(), await client.next()];
      const publish = kinds.find((packet) => packet.cmd === "publish");
      assert.ok(publish?.cmd === "publish" && publish.payload.length === bytes);
      client.ack("puback", publish.messageId ?? 0);
    }
    client.destroy();
  }
});

test("many small packets over TLS arrive as they were sent", async (t) => {
  const authority = new Authority(t);
  const broker = await tlsBroker(t, authority.issue("/CN=localhost"));
  const port = portOf(broker, "tls");
  const subscriber = await tlsClient(t, port, authority.clientOptions());
  await subscriber.handshake();
  await subscriber.subscribe("t");
  const publisher = await MqttClient.connect(t, broker.port);
  for (let i = 0; i < 300; i++) {
    publisher.publish("t", `m${i}`);
    if (i % 10 === 0) await publisher.quiet();
  }
  for (let i = 0; i < 300; i++) {
    assert.equal((await subscriber.expect("publish")).payload.toString(), `m${i}`);
  }
});

test("a client below the oldest version, or without TLS at all, gets nowhere", async (t) => {
  const authority = new Authority(t);
  const pair = authority.issue("/CN=localhost");
  const broker = await tlsBroker(t, { ...pair, min_version: "TLSv1.3" });
  const port = portOf(broker, "tls");
  const old = { ...authority.clientOptions(), maxVersion: "TLSv1.2" } as const;
  await assert.rejects(openTls(t, port, old));
  const plain = await MqttClient.open(t, port);
  plain.sendConnect();
  await plain.closed();
  await eventually(() => broker.frontEnd.doors.counters.tlsFailed === 2, "two failures");
  assert.equal(broker.frontEnd.counters.connectionsOpened, 0);
});

test("by default TLS 1.1 is not spoken", async (t) => {
  const authority = new Authority(t);
  const broker = await tlsBroker(t, authority.issue("/CN=localhost"));
  const options = {
    ...authority.clientOptions(),
    ...({ minVersion: "TLSv1", maxVersion: "TLSv1.1", ciphers: "ALL:@SECLEVEL=0" } as const),
  };
  await assert.rejects(openTls(t, portOf(broker, "tls"), options));
});

test("a health check that only connects leaves no error", async (t) => {
  const log = new LogLines();
  const authority = new Authority(t);
  const broker = await tlsBroker(t, authority.issue("/CN=localhost"), log);
  const socket = connect(portOf(broker, "tls"), "127.0.0.1");
  await new Promise((resolve) => socket.once("connect", resolve));
  socket.destroy();
  await eventually(() => broker.frontEnd.doors.pending === 0, "the end");
  assert.equal(broker.frontEnd.doors.counters.tlsFailed, 0);
  assert.deepEqual(log.lines, []);
});

test("a handshake that does not go on is cut off", async (t) => {
  const authority = new Authority(t);
  const tls = { enabled: true, port: 0, ...authority.issue("/CN=localhost") };
  const settings = { listeners: { tls }, limits: { connect_timeout: 100 } };
  const broker = await testBroker(t, { settings });
  const client = await MqttClient.open(t, portOf(broker, "tls"));
  client.raw([0x16, 0x03, 0x01]);
  await client.closed();
  assert.equal(broker.frontEnd.doors.counters.handshakesLate, 1);
});

test("the certificate is the one for the name that is asked for", async (t) => {
  const authority = new Authority(t);
  const one = authority.issue("/CN=one", ["one.test"]);
  const wild = authority.issue("/CN=wild", ["*.many.test"]);
  const sni = [
    { name: "One.test", ...one },
    { name: "*.many.test", ...wild },
  ];
  const broker = await tlsBroker(t, { ...authority.issue("/CN=own"), sni });
  const names: Record<string, string> = {
    "one.test": "one",
    "a.many.test": "wild",
    localhost: "own",
    "a.b.many.test": "own",
  };
  for (const [servername, expected] of Object.entries(names)) {
    const options = {
      ...authority.clientOptions(),
      servername,
      checkServerIdentity: () => undefined,
    };
    assert.equal(await shown(t, portOf(broker, "tls"), options), expected, servername);
  }
});

test("required: no connection without a certificate that the authority signed", async (t) => {
  const authority = new Authority(t);
  const stranger = new Authority(t, "stranger").issue("/CN=device");
  const broker = await tlsBroker(t, {
    ...authority.issue("/CN=localhost"),
    ca: authority.certificate,
    client_certificates: "required",
  });
  const port = portOf(broker, "tls");
  const right = await tlsClient(t, port, authority.clientOptions(authority.issue("/CN=device")));
  await right.handshake();
  for (const pair of [undefined, stranger]) {
    const refused = await tlsClient(t, port, authority.clientOptions(pair));
    refused.sendConnect();
    await refused.closed();
    assert.deepEqual(refused.packets, []);
  }
  assert.equal(broker.frontEnd.counters.connectionsOpened, 1);
  assert.equal(broker.frontEnd.doors.counters.certificatesRefused, 2);
});

test("optional: no certificate is fine, a wrong one is not", async (t) => {
  const authority = new Authority(t);
  const stranger = new Authority(t, "stranger").issue("/CN=device");
  const broker = await tlsBroker(t, {
    ...authority.issue("/CN=localhost"),
    ca: authority.certificate,
    client_certificates: "optional",
  });
  const port = portOf(broker, "tls");
  for (const pair of [undefined, authority.issue("/CN=device")]) {
    await (await tlsClient(t, port, authority.clientOptions(pair))).handshake();
  }
  const refused = await tlsClient(t, port, authority.clientOptions(stranger));
  await refused.closed();
  assert.equal(broker.frontEnd.doors.counters.certificatesRefused, 1);
});

test("the common name is the user name when that is on, and there must be exactly one", async (t) => {
  const authority = new Authority(t);
  const broker = await tlsBroker(t, {
    ...authority.issue("/CN=localhost"),
    ca: authority.certificate,
    client_certificates: "required",
    use_identity_as_username: true,
  });
  const port = portOf(broker, "tls");
  const device = authority.clientOptions(authority.issue("/CN=device-7"));
  const client = await tlsClient(t, port, device);
  await client.handshake({ clientId: "c", username: "root", password: Buffer.from("x") });
  assert.equal(broker.frontEnd.sessions.get("c")?.user, "device-7");
  for (const subject of ["/O=nameless", "/CN=a/CN=b"]) {
    const refused = await tlsClient(t, port, authority.clientOptions(authority.issue(subject)));
    await refused.closed();
  }
  assert.equal(broker.frontEnd.doors.counters.certificatesRefused, 2);
});

/** A broker whose certificate files can be replaced. */
async function replaceable(t: TestContext, log: LogLines) {
  const authority = new Authority(t);
  const path = folder(t);
  const files = { certificate: join(path, "c.pem"), key: join(path, "k.pem") };
  const put = ({ certificate, key }: Pair): void => {
    copyFileSync(certificate, files.certificate);
    copyFileSync(key, files.key);
  };
  put(authority.issue("/CN=first"));
  const broker = await tlsBroker(t, files, log);
  const now = () => shown(t, portOf(broker, "tls"), authority.clientOptions());
  return { authority, files, put, broker, now };
}

test("reload: new connections get the new certificate, old ones go on", async (t) => {
  const log = new LogLines();
  const { authority, put, broker, now } = await replaceable(t, log);
  const client = await tlsClient(t, portOf(broker, "tls"), authority.clientOptions());
  await client.handshake();
  assert.equal(await now(), "first");
  put(authority.issue("/CN=second"));
  assert.deepEqual(broker.frontEnd.doors.reload(), [{ name: "tls", problem: null }]);
  assert.equal(await now(), "second");
  await client.quiet();
  assert.equal(broker.frontEnd.doors.counters.certificatesReloaded, 1);
});

test("reload: a bad new certificate keeps the old one, with an error in the log", async (t) => {
  const log = new LogLines();
  const { authority, files, put, broker, now } = await replaceable(t, log);
  const bad = [
    () => writeFileSync(files.certificate, "no certificate"),
    () => copyFileSync(authority.issue("/CN=other").certificate, files.certificate),
    () => writeFileSync(files.key, ""),
  ];
  for (const spoil of bad) {
    put(authority.issue("/CN=first"));
    spoil();
    const [outcome] = broker.frontEnd.doors.reload();
    assert.ok(outcome?.problem?.includes(files.certificate), String(outcome?.problem));
    assert.equal(await now(), "first");
  }
  assert.equal(broker.frontEnd.doors.counters.certificatesNotReloaded, 3);
  assert.equal(log.lines.filter((line) => line.startsWith("error the new cert")).length, 3);
});

test("files that change are read again without a command", async (t) => {
  const log = new LogLines();
  const { authority, put, now } = await replaceable(t, log);
  put(authority.issue("/CN=second"));
  const end = performance.now() + 15_000;
  while ((await now()) !== "second") assert.ok(performance.now() < end, log.lines.join("\n"));
});

test("a node whose certificates cannot be used does not start, and says which", async (t) => {
  const authority = new Authority(t);
  const { certificate } = authority.issue("/CN=localhost");
  const { key } = authority.issue("/CN=other");
  const absent = { certificate, key: "/nowhere/k.pem" };
  await assert.rejects(tlsBroker(t, absent), /the listener tls cannot use .*ENOENT.*\/nowhere/);
  await assert.rejects(tlsBroker(t, { certificate, key }), /key values mismatch/);
});

test("a node without certificates refuses to read them again", async (t) => {
  const broker = await testBroker(t);
  assert.throws(() => broker.frontEnd.doors.reload(), /no listener of this node has certificates/);
});
