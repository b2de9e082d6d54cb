/** Nodes with workers for tests: their ports, their state, and clients at each of them. */
import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import mqtt from "mqtt";
import type { GroupStatus } from "../../src/cli/workers/status.js";
import { sourceDependencies } from "./real-node.js";
import { Place } from "./support.js";

// Workers look for each other on the ports of the range: one that other tests do not use.
export const firstPort = 33_000 + (process.pid % 400) * 10;
export const names = ["trellis-1@127.0.0.1", "trellis-2@127.0.0.1"];

/** A place whose nodes have workers. */
export function newPlace(t: TestContext): Place {
  const place = new Place(t, sourceDependencies());
  place.environment.BROKER_LISTENERS__TCP__PORT = "0";
  place.environment.BROKER_CLUSTER__PORT_RANGE = `${firstPort}-${firstPort + 9}`;
  place.shareEnvironment();
  place.stopAtEnd();
  return place;
}

export async function statusOf(place: Place): Promise<GroupStatus> {
  const { output, errors } = await place.run(["ctl", "--json", "status"]);
  assert.equal(errors, "");
  return JSON.parse(output);
}

export async function connect(
  t: TestContext,
  url: string,
  clientId: string,
  options: mqtt.IClientOptions = {},
): Promise<mqtt.MqttClient> {
  const client = await mqtt.connectAsync(url, { clientId, reconnectPeriod: 0, ...options });
  client.on("error", () => undefined);
  t.after(() => client.endAsync(true));
  return client;
}

export interface Listed {
  readonly clientId: string;
  readonly node: string;
}

/** One client at each of two workers: connections are dealt out, in turn or by chance. */
export async function oneAtEach(
  place: Place,
  connectAs: (clientId: string) => Promise<mqtt.MqttClient>,
): Promise<[mqtt.MqttClient, mqtt.MqttClient]> {
  const found = new Map<string, mqtt.MqttClient>();
  for (let i = 0; i < 40 && found.size < 2; i++) {
    const client = await connectAs(`c${i}`);
    const { output, errors } = await place.run(["ctl", "--json", "clients", "list"]);
    assert.equal(errors, "");
    const { items }: { items: Listed[] } = JSON.parse(output);
    const node = items.find(({ clientId }) => clientId === client.options.clientId)?.node ?? "";
    if (found.has(node)) await client.endAsync(true);
    else found.set(node, client);
  }
  const [one, two] = names.map(
    (name) => found.get(name) ?? assert.fail(`no client came to ${name}`),
  );
  assert.ok(one !== undefined && two !== undefined);
  return [one, two];
}

/** Publishes with QoS 1 and resolves when the subscriber has it. */
export async function carried(
  from: mqtt.MqttClient,
  to: mqtt.MqttClient,
  topic: string,
): Promise<void> {
  const arrived = new Promise<void>((resolve) => {
    to.on("message", (name) => {
      if (name === topic) resolve();
    });
  });
  await from.publishAsync(topic, "x", { qos: 1 });
  await arrived;
}
