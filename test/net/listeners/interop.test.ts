/** Clients of others, as they come, over every transport and in every version. */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import mqtt, { type IClientOptions } from "mqtt";
import { type TestBroker, testBroker } from "../../support/front-end.js";
import { eventually } from "../../support/mqtt-client.js";
import { Authority, folder, portOf } from "./support.js";

const versions = [3, 4, 5] as const;

interface Everywhere {
  readonly broker: TestBroker;
  readonly authority: Authority;
  /** By scheme. */
  readonly urls: ReadonlyMap<string, string>;
}

/** A broker that listens in every way. */
async function everywhere(t: TestContext): Promise<Everywhere> {
  const authority = new Authority(t);
  const pair = authority.issue("/CN=localhost");
  const path = join(folder(t), "mqtt.sock");
  const open = { enabled: true, port: 0 };
  const listeners = {
    tls: { ...open, ...pair },
    ws: open,
    wss: { ...open, ...pair },
    unix: { enabled: true, path },
  };
  const broker = await testBroker(t, { settings: { listeners } });
  const urls = new Map([
    ["mqtt", `mqtt://localhost:${broker.port}`],
    ["mqtts", `mqtts://localhost:${portOf(broker, "tls")}`],
    ["ws", `ws://localhost:${portOf(broker, "ws")}/mqtt`],
    ["wss", `wss://localhost:${portOf(broker, "wss")}/mqtt`],
    ["unix", `mqtt+unix://${path}`],
  ]);
  return { broker, authority, urls };
}

test("MQTT.js over TCP, TLS, WebSocket, secure WebSocket and a Unix socket", async (t) => {
  const { broker, authority, urls } = await everywhere(t);
  const ca = readFileSync(authority.certificate);
  for (const [scheme, url] of urls) {
    for (const protocolVersion of versions) {
      const options: IClientOptions = {
        ...{ protocolVersion, clientId: "js", reconnectPeriod: 0, family: 4, ca },
        protocolId: protocolVersion === 3 ? "MQIsdp" : "MQTT",
      };
      const client = await mqtt.connectAsync(url, options);
      t.after(() => client.end(true));
      const message = new Promise<string>((resolve) => {
        client.on("message", (_topic, payload) => resolve(payload.toString()));
      });
      await client.subscribeAsync("t", { qos: 2 });
      await client.publishAsync("t", `${scheme} ${protocolVersion}`, { qos: 2 });
      assert.equal(await message, `${scheme} ${protocolVersion}`);
      await client.endAsync();
      await eventually(() => broker.frontEnd.connected === 0, "the end");
    }
  }
  assert.deepEqual(Object.keys(broker.frontEnd.counters.closedBy), ["disconnect"]);
});

test("mosquitto_sub and mosquitto_pub over TCP and TLS", async (t) => {
  if (spawnSync("mosquitto_sub", ["--help"]).error !== undefined) {
    t.skip("mosquitto-clients is not installed");
    return;
  }
  const { broker, authority } = await everywhere(t);
  const tls = ["-p", String(portOf(broker, "tls")), "--cafile", authority.certificate];
  for (const where of [["-p", String(broker.port)], tls]) {
    for (const version of ["mqttv31", "mqttv311", "mqttv5"]) {
      const words = ["-h", "localhost", "-V", version, ...where, "-t", "t", "-q", "2"];
      const sub = spawn("mosquitto_sub", [...words, "-C", "1", "-W", "10"]);
      let output = "";
      sub.stdout.on("data", (bytes) => {
        output += bytes;
      });
      const closed = once(sub, "close");
      const { sessions } = broker.frontEnd;
      await eventually(
        () => [...sessions.all()].some(({ subscriptions }) => subscriptions.has("t")),
        "the subscription",
      );
      const pub = spawn("mosquitto_pub", [...words, "-m", version]);
      assert.deepEqual(await once(pub, "exit"), [0, null]);
      await closed;
      assert.equal(output, `${version}\n`);
      await eventually(() => broker.frontEnd.connected === 0, "the end");
    }
  }
});
