/** Certificates that openssl makes for one test, and clients over every transport. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from "node:tls";
import { createWebSocketStream, WebSocket } from "ws";
import type { Log } from "../../../src/lib/log.js";
import type { TestBroker } from "../../support/front-end.js";
import { MqttClient } from "../../support/mqtt-client.js";

/** A folder that is gone after the test. */
export function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), "trellis-listeners-"));
  t.after(() => rmSync(path, { recursive: true }));
  return path;
}

/** A certificate and its key, both as files. */
export interface Pair {
  readonly certificate: string;
  readonly key: string;
}

/** An authority of its own, in a folder of its own. */
export class Authority {
  readonly path: string;
  readonly certificate: string;
  private readonly key: string;
  private made = 0;

  constructor(
    t: TestContext,
    private readonly commonName = "test authority",
  ) {
    this.path = folder(t);
    this.certificate = join(this.path, "ca.pem");
    this.key = join(this.path, "ca.key");
    this.openssl(
      ...["req", "-x509", ...newKey(this.key), "-out", this.certificate],
      ...["-days", "2", "-subj", `/CN=${this.commonName}`],
    );
  }

  /** Signs a new certificate; `subject` as in /CN=name. */
  issue(subject: string, names: readonly string[] = ["localhost"]): Pair {
    const base = join(this.path, `c${++this.made}`);
    const pair = { certificate: `${base}.pem`, key: `${base}.key` };
    writeFileSync(
      `${base}.ext`,
      `subjectAltName=${names.map((name) => `DNS:${name}`).join(",")}\n`,
    );
    this.openssl("req", ...newKey(pair.key), "-out", `${base}.csr`, "-subj", subject);
    this.openssl(
      ...["x509", "-req", "-in", `${base}.csr`, "-CA", this.certificate, "-CAkey", this.key],
      ...["-CAcreateserial", "-days", "2", "-extfile", `${base}.ext`, "-out", pair.certificate],
    );
    return pair;
  }

  /** What a client trusts and shows. */
  clientOptions(pair?: Pair): ConnectionOptions {
    const own =
      pair === undefined
        ? {}
        : { cert: readFileSync(pair.certificate), key: readFileSync(pair.key) };
    return { ca: readFileSync(this.certificate), servername: "localhost", ...own };
  }

  private openssl(...words: string[]): void {
    execFileSync("openssl", words, { stdio: "pipe" });
  }
}

const newKey = (path: string): string[] => {
  return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", path];
};

/** The port of a listener. */
export function portOf(broker: TestBroker, name: string): number {
  const found = broker.frontEnd.listeners().find((listener) => listener.name === name);
  if (found === undefined) throw new Error(`no listener ${name}`);
  return found.port;
}

/** A connection on which nothing was said. */
export async function openTcp(t: TestContext, port: number): Promise<Socket> {
  const socket = connect({ port, host: "127.0.0.1", noDelay: true });
  t.after(() => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("error", reject);
  });
  return socket;
}

/** A TLS connection after its handshake. TLS 1.3 servers look at the client only after it. */
export async function openTls(
  t: TestContext,
  port: number,
  options: ConnectionOptions,
): Promise<TLSSocket> {
  const socket = connectTls({ port, host: "127.0.0.1", ...options });
  t.after(() => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    socket.once("secureConnect", resolve);
    socket.once("error", reject);
  });
  return socket;
}

export async function tlsClient(
  t: TestContext,
  port: number,
  options: ConnectionOptions,
): Promise<MqttClient> {
  return MqttClient.on(t, await openTls(t, port, options));
}

/** A client on a Unix socket. */
export async function unixClient(t: TestContext, path: string): Promise<MqttClient> {
  const socket = connect({ path });
  await new Promise<void>((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("error", reject);
  });
  return MqttClient.on(t, socket);
}

/** A WebSocket that is open. Rejects with the status when it is refused. */
export async function openWebSocket(
  t: TestContext,
  url: string,
  protocols: string[] = ["mqtt"],
  options: object = {},
): Promise<WebSocket> {
  const webSocket = new WebSocket(url, protocols, { ...options, perMessageDeflate: true });
  t.after(() => webSocket.terminate());
  await new Promise<void>((resolve, reject) => {
    webSocket.once("open", resolve);
    webSocket.once("error", reject);
  });
  return webSocket;
}

export function webSocketClient(t: TestContext, webSocket: WebSocket): MqttClient {
  return MqttClient.on(t, createWebSocketStream(webSocket));
}

/** Keeps what is logged. */
export class LogLines implements Log {
  level = "debug";
  readonly lines: string[] = [];
  debug = (fields: object, message: string): void => this.add("debug", fields, message);
  info = (fields: object, message: string): void => this.add("info", fields, message);
  warn = (fields: object, message: string): void => this.add("warn", fields, message);
  error = (fields: object, message: string): void => this.add("error", fields, message);
  child = (): Log => this;

  private add(level: string, fields: object, message: string): void {
    this.lines.push(`${level} ${message} ${JSON.stringify(fields)}`);
  }
}

/** The only client's address, as commands show it. */
export function onlyAddress(broker: TestBroker): string {
  const addresses = [...broker.frontEnd.sessions.all()].map((session) => {
    return session.channel?.info().address;
  });
  if (addresses.length !== 1) throw new Error(`${addresses.length} sessions`);
  return addresses[0] ?? "";
}
