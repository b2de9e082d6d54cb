/**
 * Tables of bytes: what a client sends, and exactly what comes back. Bytes are written as hex and in
 * blocks: `'text'` a string with its length, `"text"` a string without, `82[...]` a packet whose length
 * is worked out, `{...}` properties with their length, in MQTT 5 only.
 */
import assert from "node:assert/strict";
import { connect, type Socket } from "node:net";
import { type TestContext, test } from "node:test";
import { varintBytes, writeVarint } from "../../src/protocol/publish.js";
import { eventually } from "../support/mqtt-client.js";
import { type Settings, type TestBroker, testBroker } from "../support/front-end.js";

export type Version = 3 | 4 | 5;

const deadlineMs = 5000;
const pingreq = "c000";
const pingresp = "d000";
const levels: Record<Version, string> = { 3: "'MQIsdp' 03", 4: "'MQTT' 04", 5: "'MQTT' 05" };

/** Bytes in the notation above. */
export function wire(text: string, version: Version): Buffer {
  const tokens = text.match(/'[^']*'|"[^"]*"|[[\]{}]|[0-9a-fA-F]+|\S/g) ?? [];
  const { bytes, rest } = block(tokens, 0, version);
  assert.equal(rest, tokens.length, `unbalanced: ${text}`);
  return bytes;
}

function block(
  tokens: readonly string[],
  from: number,
  version: Version,
): { bytes: Buffer; rest: number } {
  const parts: Buffer[] = [];
  let at = from;
  while (at < tokens.length) {
    const token = tokens[at++] ?? "";
    if (token === "]" || token === "}") break;
    if (token === "[" || token === "{") {
      const inner = block(tokens, at, version);
      at = inner.rest;
      if (token === "[" || version === 5) parts.push(withLength(inner.bytes));
    } else parts.push(plain(token));
  }
  return { bytes: Buffer.concat(parts), rest: at };
}

function plain(token: string): Buffer {
  if (token.startsWith('"')) return Buffer.from(token.slice(1, -1));
  if (!token.startsWith("'")) {
    assert.match(token, /^([0-9a-f]{2})+$/i);
    return Buffer.from(token, "hex");
  }
  const text = Buffer.from(token.slice(1, -1));
  return Buffer.concat([Buffer.from([text.length >> 8, text.length & 0xff]), text]);
}

function withLength(bytes: Buffer): Buffer {
  const head = Buffer.alloc(varintBytes(bytes.length));
  writeVarint(head, 0, bytes.length);
  return Buffer.concat([head, bytes]);
}

/** A CONNECT with clean session or clean start. */
export function connectPacket(version: Version, clientId: string, properties = ""): string {
  return `10[${levels[version]} 02 0000 {${properties}} '${clientId}']`;
}

/** A connection that speaks bytes and keeps what comes as hex. */
export class Wire {
  hex = "";
  isClosed = false;
  private wake: () => void = () => undefined;

  private constructor(
    private readonly socket: Socket,
    readonly version: Version,
  ) {
    socket.on("data", (chunk) => {
      this.hex += chunk.toString("hex");
      this.wake();
    });
    socket.on("error", () => undefined);
    socket.on("close", () => {
      this.isClosed = true;
      this.wake();
    });
  }

  static async open(t: TestContext, port: number, version: Version): Promise<Wire> {
    const socket = connect({ port, host: "127.0.0.1", noDelay: true });
    t.after(() => socket.destroy());
    await new Promise((resolve) => socket.once("connect", resolve));
    return new Wire(socket, version);
  }

  /** Opens, sends CONNECT and takes the CONNACK. */
  static async connected(
    t: TestContext,
    port: number,
    version: Version,
    clientId = `strict-${Math.random().toString(16).slice(2)}`,
    properties = "",
  ): Promise<Wire> {
    const opened = await Wire.open(t, port, version);
    opened.send(connectPacket(version, clientId, properties));
    await opened.until(() => opened.hex.length >= 8, "CONNACK");
    assert.equal(opened.hex.slice(6, 8), "00", "CONNACK");
    const length = 4 + 2 * Number.parseInt(opened.hex.slice(2, 4), 16);
    await opened.until(() => opened.hex.length >= length, "all of CONNACK");
    opened.hex = opened.hex.slice(length);
    return opened;
  }

  send(text: string): void {
    this.socket.write(wire(text, this.version));
  }

  /** Exactly these bytes come next. */
  async expect(text: string): Promise<void> {
    const expected = wire(text, this.version).toString("hex");
    await this.until(() => this.hex.length >= expected.length || this.isClosed, expected);
    assert.equal(this.hex.slice(0, expected.length), expected);
    this.hex = this.hex.slice(expected.length);
  }

  /** Sends, and exactly this answer comes and nothing else; the connection stays open. */
  async exchange(sent: string, answer: string): Promise<void> {
    this.send(`${sent} ${pingreq}`);
    await this.expect(`${answer} ${pingresp}`);
    assert.equal(this.hex, "");
    assert.equal(this.isClosed, false);
  }

  /** The broker closes, and this is all that comes before. */
  async closedAfter(text: string): Promise<void> {
    await this.until(() => this.isClosed, "the close");
    assert.equal(this.hex, wire(text, this.version).toString("hex"));
  }

  destroy(): void {
    this.socket.destroy();
  }

  async until(condition: () => boolean, what: string): Promise<void> {
    const end = Date.now() + deadlineMs;
    while (!condition()) {
      const left = end - Date.now();
      if (left <= 0) throw new Error(`waited for ${what}; got ${this.hex || "nothing"}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }
}

/** A clause or a few words, what is sent, and what must come of it. */
export type Row = readonly [name: string, sent: string, outcome: number | string];

/** The outcome of a connection that is closed without a word. */
export const silence = -1;

/**
 * Runs rows, each on a connection of its own. An outcome that is a number is a refusal: in MQTT 5 a
 * DISCONNECT (before CONNACK: a CONNACK) with that reason code in its shortest form and then the close,
 * else just the close. A text is the answer, after which the connection stays open. In the end nothing
 * of a refused packet may be found in the broker.
 */
export function table(
  name: string,
  versions: readonly Version[],
  rows: readonly Row[],
  options: { readonly first?: boolean; readonly settings?: Settings } = {},
): void {
  for (const version of versions) {
    test(`v${version} ${name}`, async (t) => {
      const broker = await testBroker(t, { settings: options.settings ?? {} });
      for (const row of rows) await runRow(t, broker, version, row, options.first ?? false);
    });
  }
}

async function runRow(
  t: TestContext,
  broker: TestBroker,
  version: Version,
  [name, sent, outcome]: Row,
  first: boolean,
): Promise<void> {
  const { port, router, frontEnd } = broker;
  const client = await (first ? Wire.open : Wire.connected)(t, port, version);
  try {
    if (typeof outcome === "string") {
      if (first) {
        client.send(sent);
        await client.expect(outcome);
        await client.exchange("", "");
      } else await client.exchange(sent, outcome);
    } else {
      client.send(sent);
      await client.closedAfter(refusal(version, outcome, first));
      assert.equal(router.retained.size, 0, "retained");
      assert.equal(frontEnd.sessions.size, 0, "sessions");
    }
  } catch (error) {
    throw new Error(`${name}: ${sent}`, { cause: error });
  }
  client.destroy();
  await eventually(() => frontEnd.connected === 0, "the connection to be gone");
}

function refusal(version: Version, reason: number, first: boolean): string {
  if (version !== 5 || reason === silence) return "";
  const code = reason.toString(16);
  return first ? `20[00 ${code} 00]` : `e0[${code}]`;
}
