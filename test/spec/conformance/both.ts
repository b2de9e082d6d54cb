/** One test for each of the two versions that have numbered clauses. */
import { type TestContext, test } from "node:test";
import { MqttClient, type ConnectOptions } from "../../support/mqtt-client.js";

export type Edition = 4 | 5;

/** Runs a test for MQTT 3.1.1 and for MQTT 5.0. */
export function both(name: string, run: (t: TestContext, version: Edition) => Promise<void>): void {
  for (const version of [4, 5] as const) {
    test(`v${version === 4 ? "3.1.1" : 5}: ${name}`, (t) => run(t, version));
  }
}

/** What makes a session outlive its connection. */
export function kept(version: Edition, clientId: string): ConnectOptions {
  const properties = version === 5 ? { properties: { sessionExpiryInterval: 100 } } : {};
  return { version, clientId, clean: false, ...properties };
}

/** A string as it goes over the wire. */
export function field(content: string | readonly number[]): number[] {
  const bytes = typeof content === "string" ? [...Buffer.from(content)] : content;
  return [bytes.length >> 8, bytes.length & 0xff, ...bytes];
}

/** A packet around its variable header and payload (under 128 bytes). */
export function packet(first: number, ...parts: readonly (readonly number[])[]): number[] {
  const body = parts.flat();
  return [first, body.length, ...body];
}

/** No properties, where the version has them. */
export const none = (version: Edition): number[] => (version === 5 ? [0] : []);

/** CONNECT with these flags and these fields after its head. */
export function connectBytes(
  version: Edition,
  flags: number,
  ...fields: readonly (readonly number[])[]
): number[] {
  return packet(0x10, field("MQTT"), [version, flags, 0, 0], none(version), ...fields);
}

/** Sends bytes as the first of a connection, and returns what came until it was closed, as hex. */
export async function answerTo(
  t: TestContext,
  port: number,
  version: Edition,
  bytes: readonly number[],
): Promise<string> {
  const client = await MqttClient.open(t, port);
  client.version = version;
  client.hex = "";
  client.raw(bytes);
  await client.closed();
  return client.hex;
}
