/** Listeners with certificates and proxy headers at a node with workers: every worker serves them alike. */
import assert from "node:assert/strict";
import { copyFileSync, readFileSync } from "node:fs";
import { createConnection } from "node:net";
import { type TestContext, test } from "node:test";
import { TLSSocket } from "node:tls";
import mqtt from "mqtt";
import { Authority } from "../net/listeners/support.js";
import { type Place, until } from "./support.js";
import {
  carried,
  connect,
  type Listed,
  names,
  newPlace,
  oneAtEach,
  statusOf,
} from "./workers-support.js";

/** The ports of the listeners of a node that runs, by kind. */
async function portsOf(place: Place): Promise<ReadonlyMap<string, number>> {
  const { output, errors } = await place.run(["ctl", "--json", "listeners"]);
  assert.equal(errors, "");
  const { listeners }: { listeners: { kind: string; port: number; node: string }[] } =
    JSON.parse(output);
  const clients = listeners.filter(({ kind }) => kind !== "link");
  const ports = new Map(clients.map(({ kind, port }) => [kind, port]));
  // Both workers have each of them, on the same port.
  assert.equal(clients.length, 2 * ports.size);
  for (const { kind, port } of clients) assert.equal(port, ports.get(kind));
  return ports;
}

/** The name in the certificate that the worker of this client has shown. */
function shownTo(client: mqtt.MqttClient): string {
  assert.ok(client.stream instanceof TLSSocket);
  return String(client.stream.getPeerCertificate().subject.CN);
}

/** A client that comes through a proxy, which says from where. */
async function throughProxy(
  t: TestContext,
  port: number,
  clientId: string,
): Promise<mqtt.MqttClient> {
  const client = new mqtt.MqttClient(
    () => {
      const socket = createConnection({ host: "127.0.0.1", port });
      socket.write("PROXY TCP4 203.0.113.9 127.0.0.1 4567 1883\r\n");
      return socket;
    },
    { clientId, reconnectPeriod: 0 },
  );
  client.on("error", () => undefined);
  t.after(() => client.endAsync(true));
  await new Promise<void>((resolve, reject) => {
    client.once("connect", () => resolve());
    client.once("close", () => reject(new Error(`${clientId} was not let in`)));
  });
  return client;
}

const listenersOn = (files: { certificate: string; key: string }) =>
  [
    ...["tls.enabled=true", "tls.port=0", "wss.enabled=true", "wss.port=0"],
    ...["tls", "wss"].flatMap((kind) => [
      `${kind}.certificate=${files.certificate}`,
      `${kind}.key=${files.key}`,
    ]),
    ...["tcp.proxy_protocol=true", "tcp.trusted_proxies=127.0.0.1"],
  ].flatMap((setting) => ["--set", `listeners.${setting}`]);

test("TLS, WSS and proxied listeners: each worker serves them, shows new certificates, and is back after a crash", async (t) => {
  const authority = new Authority(t);
  const files = authority.issue("/CN=first");
  const place = newPlace(t);
  const words = ["start", "--workers", "2", "--set", "auth.anonymous=true", ...listenersOn(files)];
  const started = await place.run(words);
  assert.equal(started.code, 0, started.errors);
  const ports = await portsOf(place);
  const ca = readFileSync(authority.certificate);
  const options: mqtt.IClientOptions = { ca, protocolVersion: 5 };
  const tls = (id: string) => connect(t, `mqtts://localhost:${ports.get("mqtts")}`, id, options);
  const wss = (id: string) => connect(t, `wss://localhost:${ports.get("wss")}/mqtt`, id, options);

  const [one, two] = await oneAtEach(place, tls);
  assert.deepEqual([shownTo(one), shownTo(two)], ["first", "first"]);
  await two.subscribeAsync("to/two/#", { qos: 1 });
  await carried(one, two, "to/two/tls");
  const web = await oneAtEach(place, (id) => wss(`wss-${id}`));
  for (const [i, client] of web.entries()) await carried(client, two, `to/two/wss${i}`);
  const proxied = await oneAtEach(place, (id) =>
    throughProxy(t, ports.get("mqtt") ?? 0, `proxied-${id}`),
  );
  for (const [i, client] of proxied.entries()) await carried(client, two, `to/two/proxied${i}`);
  const { items }: { items: (Listed & { address: string })[] } = JSON.parse(
    (await place.run(["ctl", "--json", "clients", "list"])).output,
  );
  const far = items.filter(({ address }) => address === "203.0.113.9:4567");
  assert.deepEqual(far.map(({ node }) => node).sort(), names);

  const next = authority.issue("/CN=second");
  copyFileSync(next.key, files.key);
  copyFileSync(next.certificate, files.certificate);
  const reload = await place.run(["ctl", "listeners", "reload"]);
  assert.match(
    reload.output,
    /^trellis-1@[^:]*:\nThe certif[\s\S]*\n\ntrellis-2@[^:]*:\nThe certif/,
  );
  const later = await oneAtEach(place, (id) => tls(`later-${id}`));
  assert.deepEqual(later.map(shownTo), ["second", "second"]);
  // Who was there stays.
  await carried(one, two, "to/two/after");

  const { workers } = await statusOf(place);
  const closed = new Promise<void>((resolve) => one.once("close", () => resolve()));
  process.kill(workers[0]?.pid ?? 0, "SIGKILL");
  await closed;
  await carried(await tls("meanwhile"), two, "to/two/meanwhile");
  await until(async () => {
    const status = await statusOf(place);
    const isUp = status.workers.every(({ state }) => state === "running");
    // Its control socket is the last that it opens.
    const { errors } = await place.run(["ctl", "--json", "clients", "list"]);
    return isUp && status.running.length === 2 && errors === "";
  });
  const [back] = await oneAtEach(place, (id) => tls(`back-${id}`));
  assert.equal(shownTo(back), "second");
  await carried(back, two, "to/two/back");
});
