/**
 * What stands in for `mosquitto` in its own suite of tests asks this: reads the arguments and the file of
 * settings that a test made, and prints the arguments with which a node of ours does the same.
 */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { UsersFile } from "../../../src/auth/users-file.js";
import { realClock } from "../../../src/lib/clock.js";
import { createLog } from "../../../src/lib/log.js";
import { realRandom } from "../../../src/lib/random.js";

/** Settings that hold for the listener before them only. */
const ofListener: ReadonlySet<string> = new Set([
  ...["mount_point", "certfile", "keyfile", "cafile", "require_certificate"],
  "use_identity_as_username",
]);

interface Listener {
  readonly port: number;
  readonly lines: Map<string, string>;
}

/** Settings of one of ours. */
interface ListenerOptions {
  kind: "tcp" | "tls";
  name: string;
  anonymous?: boolean;
  mount_point?: string;
  certificate?: string;
  key?: string;
  ca?: string;
  client_certificates?: "required" | "optional";
  use_identity_as_username?: boolean;
}

const argv = process.argv.slice(2);
const argumentOf = (flag: string): string | undefined => {
  const at = argv.indexOf(flag);
  return at < 0 ? undefined : argv[at + 1];
};
const fileArgument = argumentOf("-c");
const portArgument = argumentOf("-p");

const all = new Map<string, string>();
const listeners: Listener[] = [];
if (fileArgument !== undefined) readSettings(readFileSync(fileArgument, "utf8"));
if (portArgument !== undefined) listeners.push({ port: Number(portArgument), lines: new Map() });

const data = dataDirectory();
/** As mosquitto 2.0 is where a test says nothing: what a broker may tell in CONNACK is compared. */
const settings: string[] = [
  "limits.max_packet=268435455B",
  `limits.receive_maximum=${all.get("max_inflight_messages") ?? 20}`,
  `limits.topic_aliases=${all.get("max_topic_alias") ?? 10}`,
  "limits.topic_bytes=65535",
  "limits.topic_levels=201",
  "limits.session_expiry=forever",
  "shared.strategy=round_robin",
  "cluster.port_range=0-0",
];
const names: Record<string, string> = {
  max_keepalive: "limits.keep_alive_max",
  max_packet_size: "limits.max_packet",
  maximum_qos: "limits.max_qos",
  max_qos: "limits.max_qos",
  retain_available: "limits.retain_available",
  max_queued_messages: "limits.session_queue_messages",
};
for (const [theirs, ours] of Object.entries(names)) {
  const value = all.get(theirs);
  if (value !== undefined) settings.push(`${ours}=${value}`);
}
const packetMax = Number(all.get("max_packet_size") ?? 268_435_455);
settings.push(`limits.max_packet_before_connect=${Math.min(packetMax, 131_072)}`);
listenerSettings();
const aclFile = inAny("acl_file");
if (aclFile !== undefined) {
  settings.push(`auth.acl_file=${resolve(aclFile)}`, "auth.acl_format=mosquitto");
}
const passwordFile = inAny("password_file");
if (passwordFile !== undefined) await importUsers(readFileSync(passwordFile, "utf8"));

const port = listeners[0]?.port ?? 1883;
process.stdout.write(["--node", `m${port}@127.0.0.1`, "--data", data].join("\n"));
for (const setting of settings) process.stdout.write(`\n--set\n${setting}`);
process.stdout.write("\n");

function readSettings(text: string): void {
  let into = all;
  for (const line of text.split("\n")) {
    const [, key = "", value = ""] = /^\s*(\S+)\s*(.*?)\s*$/.exec(line) ?? [];
    if (key === "" || key.startsWith("#")) continue;
    if (key === "port" || key === "listener") {
      into = new Map();
      listeners.push({ port: Number(value.split(" ")[0]), lines: into });
    } else {
      into.set(key, value);
      if (!ofListener.has(key)) all.set(key, value);
    }
  }
}

function inAny(key: string): string | undefined {
  const value = all.get(key);
  return value === undefined || value === "" ? undefined : value;
}

/** The same for a second start of the test, which finds its file there, unless the test took it away. */
function dataDirectory(): string {
  if (all.get("persistence") !== "true") return mkdtempSync(join(tmpdir(), "suite-node-"));
  const file = resolve(all.get("persistence_file") ?? "mosquitto.db");
  const place = join(tmpdir(), `suite-node-${createHash("sha256").update(file).digest("hex")}`);
  if (!existsSync(file)) {
    rmSync(place, { recursive: true, force: true });
    writeFileSync(file, "");
  }
  mkdirSync(place, { recursive: true });
  return place;
}

function listenerSettings(): void {
  const more: (ListenerOptions & { port: number })[] = [];
  const [first, ...others] = listeners;
  for (const { port: number, lines } of others) more.push({ port: number, ...optionsOf(lines) });
  const { kind, name, ...options } = first === undefined ? optionsOf(all) : optionsOf(first.lines);
  if (kind === "tls") settings.push("listeners.tcp.enabled=false", "listeners.tls.enabled=true");
  settings.push(`listeners.${String(kind)}.port=${first?.port ?? 1883}`);
  for (const [key, value] of Object.entries(options)) {
    settings.push(`listeners.${String(kind)}.${key}=${String(value)}`);
  }
  if (more.length > 0) settings.push(`listeners.more=${JSON.stringify(more)}`);
  function optionsOf(lines: ReadonlyMap<string, string>): ListenerOptions {
    const of = (key: string): string | undefined => lines.get(key) ?? all.get(key);
    const found: ListenerOptions = { kind: "tcp", name: `more${more.length}` };
    // With a file mosquitto refuses those without a name unless it is told otherwise.
    const anonymous = of("allow_anonymous") ?? (fileArgument === undefined ? "true" : "false");
    found.anonymous = anonymous === "true";
    const mountPoint = of("mount_point");
    if (mountPoint !== undefined) found.mount_point = mountPoint;
    const certificate = of("certfile");
    if (certificate === undefined) return found;
    found.kind = "tls";
    found.certificate = resolve(certificate);
    found.key = resolve(of("keyfile") ?? "");
    const ca = of("cafile");
    if (ca !== undefined) found.ca = resolve(ca);
    const asName = of("use_identity_as_username") === "true";
    const required = of("require_certificate") === "true";
    if (required || asName) found.client_certificates = required ? "required" : "optional";
    if (asName) found.use_identity_as_username = true;
    return found;
  }
}

async function importUsers(text: string): Promise<void> {
  const path = join(data, "users.json");
  const work = { costExponent: 10, blockSize: 8, parallelism: 1 };
  const parts = { clock: realClock, random: realRandom, log: createLog("error") };
  const users = new UsersFile({ path, iterations: 4096, scrypt: work, ...parts });
  await users.open();
  // mosquitto passes over lines that it cannot read; we refuse the file and name them.
  const lines = text
    .split("\n")
    .filter((line) => /^[^:#]+:\$[67]\$[^$]+\$[^$]+(\$.*)?$/.test(line));
  await users.importMosquitto(`${lines.join("\n")}\n`);
  users.close();
}
