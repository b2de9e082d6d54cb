/**
 * `broker bench`: measures any MQTT broker from one process, case by case, and prints a table. It ends by
 * itself; Ctrl-C ends it sooner, with the table of what was measured until then.
 */
import { readFileSync } from "node:fs";
import type { Argv } from "yargs";
import type { Clock } from "../../lib/clock.js";
import { Refusal } from "../../lib/refusal.js";
import type { Dependencies } from "../dependencies.js";
import type { Terminal } from "../output.js";
import { onStopSignal } from "../signals.js";
import { UsageError } from "../usage.js";
import {
  type BenchTarget,
  type CaseName,
  caseNames,
  connectCase,
  connectsOfCase,
  crosses,
  isCaseName,
  loadOf,
  titleOf,
} from "./cases.js";
import type { Address, TlsSettings } from "./connection.js";
import { type ConnectOptions, runConnects } from "./connects.js";
import { benchTable, complaints, type Measured, thousands } from "./report.js";
import { type LoadWatch, runLoad } from "./run.js";
import { type MqttVersion, stampBytes } from "./wire.js";

const payloadMax = 1_048_576;
const clientsMax = 10_000;
/** Connects under way at once. */
const handshakes = 64;
const connectsTimeoutMs = 60_000;
const firstConnectMs = 10_000;

/** For yargs. */
export function addBenchOptions<T>(parser: Argv<T>) {
  const text = (describe: string) => ({ type: "string", requiresArg: true, describe }) as const;
  return parser
    .version(false)
    .option("host", { ...text("where the broker is"), default: "127.0.0.1" })
    .option("port", text("its port [default: 1883, with --tls 8883]"))
    .option("other", text("HOST:PORT of another node of its cluster, for the cases that cross it"))
    .option("version", { ...text("MQTT 3 (3.1), 4 (3.1.1) or 5"), default: "4" })
    .option("user", text("user name"))
    .option("password", text("password; others on this machine can see it"))
    .option("password-file", text("read the password from the first line of a file"))
    .option("tls", { type: "boolean", describe: "connect with TLS" })
    .option("ca", text("with TLS: PEM file of the authorities that sign the broker's certificate"))
    .option("insecure", { type: "boolean", describe: "with TLS: take any certificate" })
    .option("cases", text(`some of ${caseNames.join(", ")} [default: all that can run]`))
    .option("seconds", { ...text("measured time of each case"), default: "5" })
    .option("clients", {
      ...text("of fanout and fanin; connect has ten times as many"),
      default: "100",
    })
    .option("payload", { ...text("bytes of each message"), default: "100" })
    .option("window", { ...text("QoS 1 and 2 in flight"), default: "100" })
    .option("persistent", {
      type: "boolean",
      describe:
        "the subscribers' sessions outlive their connections, and are ended after each case",
    })
    .option("rate", { ...text("messages a second of latency"), default: "1000" })
    .option("pid", text("process ids of the broker here, with commas: adds its CPU time"))
    .option("json", { type: "boolean", describe: "print one JSON document" });
}

/** What was typed, by option. */
export type BenchWords = Readonly<Record<string, unknown>>;

/** Runs the cases and prints. Exit code 0 when all was as it should be, 1 when a case failed or a message did. */
export async function bench(words: BenchWords, dependencies: Dependencies): Promise<number> {
  const { clock, terminal } = dependencies;
  const target = targetOf(words);
  const names = casesOf(words, target);
  let stop: (error: Error) => void = () => undefined;
  const stopped = new Promise<never>((_, reject) => {
    stop = reject;
  });
  stopped.catch(() => undefined);
  let wasStopped = false;
  onStopSignal(clock, () => {
    wasStopped = true;
    stop(new Error("stopped"));
  });
  await letsIn(target, { clock, terminal, stop: stopped });
  const measured: Measured[] = [];
  for (const name of names) {
    const one = await measure(name, target, { clock, terminal, stop: stopped });
    terminal.progress("");
    if (wasStopped) break;
    measured.push(one);
  }
  const wrong = complaints(measured, target);
  if (words.json === true) {
    terminal.print(JSON.stringify({ stopped: wasStopped, cases: measured, complaints: wrong }));
  } else {
    terminal.print(benchTable(measured, target));
    for (const sentence of wrong) terminal.print(sentence);
    if (wasStopped) terminal.print("Stopped: the other cases are missing.");
  }
  return wrong.length > 0 || wasStopped ? 1 : 0;
}

interface Surroundings {
  readonly clock: Clock;
  readonly terminal: Terminal;
  readonly stop: Promise<never>;
}

async function measure(
  name: CaseName,
  target: BenchTarget,
  { clock, terminal, stop }: Surroundings,
): Promise<Measured> {
  const title = titleOf(name, target);
  terminal.progress(`${title} ...`);
  const watch: LoadWatch = {
    stop,
    onProgress: (rate) => terminal.progress(`${title}: ${thousands(rate)} a second`),
  };
  try {
    if (name === connectCase) {
      return { name, connects: await runConnects(connectsOf(target), clock, watch) };
    }
    return { name, load: await runLoad(loadOf(name, target), clock, watch) };
  } catch (error) {
    return { name, failed: error instanceof Error ? error.message : String(error) };
  }
}

/** One client connects, so that what is wrong with the address or the user is said once. @throws Refusal */
async function letsIn(target: BenchTarget, { clock, stop }: Surroundings): Promise<void> {
  for (const address of target.other === null ? [target.address] : [target.address, target.other]) {
    try {
      const one = { ...connectsOf(target), address, clients: 1, timeoutMs: firstConnectMs };
      await runConnects(one, clock, { stop });
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      const place = `${address.host}:${address.port}`;
      const reason = why.replace(`bench-c0 at ${place}: `, "");
      throw new Refusal(`no client gets in at ${place}: ${reason}`);
    }
  }
}

function connectsOf(target: BenchTarget): ConnectOptions {
  const { address, version, login, tls, pids } = target;
  return {
    ...{ address, version, login, tls, pids, clients: connectsOfCase(target) },
    ...{ concurrency: handshakes, subscribe: null, holdMs: 0, timeoutMs: connectsTimeoutMs },
  };
}

/** @throws UsageError, or Refusal when a file cannot be read */
function targetOf(words: BenchWords): BenchTarget {
  const isTls = words.tls === true;
  if (!isTls && (words.ca !== undefined || words.insecure === true)) {
    throw new UsageError("--ca and --insecure belong to --tls");
  }
  const port = words.port === undefined ? (isTls ? 8883 : 1883) : whole(words, "port", 1, 65_535);
  return {
    address: { host: String(words.host), port },
    other: words.other === undefined ? null : addressOf("other", String(words.other)),
    version: versionOf(String(words.version)),
    login: loginOf(words),
    tls: isTls ? tlsOf(words) : null,
    durationMs: 1000 * whole(words, "seconds", 1, 600),
    clients: whole(words, "clients", 1, clientsMax),
    payloadBytes: whole(words, "payload", stampBytes, payloadMax),
    window: whole(words, "window", 1, 65_535),
    ratePerSecond: whole(words, "rate", 1, 1_000_000),
    persistent: words.persistent === true,
    pids: words.pid === undefined ? [] : pidsOf(String(words.pid)),
  };
}

function casesOf(words: BenchWords, target: BenchTarget): readonly CaseName[] {
  const canRun = (name: CaseName): boolean => target.other !== null || !crosses(name);
  if (words.cases === undefined) return caseNames.filter(canRun);
  return String(words.cases)
    .split(",")
    .map((word) => {
      if (!isCaseName(word)) {
        throw new UsageError(`--cases: '${word}' is none of ${caseNames.join(", ")}`);
      }
      if (!canRun(word)) throw new UsageError(`the case ${word} needs --other HOST:PORT`);
      return word;
    });
}

function loginOf(words: BenchWords): BenchTarget["login"] {
  const file = words["password-file"];
  const typed = words.password;
  if (file !== undefined && typed !== undefined) {
    throw new UsageError("give either --password or --password-file");
  }
  const password =
    file === undefined
      ? typed === undefined
        ? null
        : String(typed)
      : (readText(String(file)).toString("utf8").split(/\r?\n/, 1)[0] ?? "");
  if (words.user !== undefined) return { user: String(words.user), password };
  if (password === null) return null;
  throw new UsageError("a password needs --user");
}

function tlsOf(words: BenchWords): TlsSettings {
  const ca = words.ca === undefined ? null : readText(String(words.ca));
  return { ca, verify: words.insecure !== true };
}

function versionOf(word: string): MqttVersion {
  if (word === "3") return 3;
  if (word === "4") return 4;
  if (word === "5") return 5;
  throw new UsageError("--version must be 3 (MQTT 3.1), 4 (3.1.1) or 5");
}

function addressOf(name: string, word: string): Address {
  const colon = word.lastIndexOf(":");
  const port = Number(word.slice(colon + 1));
  if (colon < 1 || !Number.isInteger(port) || port < 1 || port > 65_535) {
    throw new UsageError(`--${name} must be HOST:PORT`);
  }
  return { host: word.slice(0, colon).replace(/^\[(.+)\]$/, "$1"), port };
}

function pidsOf(list: string): number[] {
  return list.split(",").map((word) => {
    const pid = Number(word);
    if (Number.isInteger(pid) && pid > 0) return pid;
    throw new UsageError("--pid must be process ids with commas between them");
  });
}

function whole(words: BenchWords, name: string, least: number, most: number): number {
  const word = String(words[name]);
  const value = Number(word);
  if (/^\d+$/.test(word) && value >= least && value <= most) return value;
  throw new UsageError(`--${name} must be a whole number from ${least} to ${most}`);
}

/** @throws Refusal */
function readText(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new Refusal(`the file ${file} cannot be read: ${String(error)}`);
  }
}
