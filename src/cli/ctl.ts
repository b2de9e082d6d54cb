/** `broker ctl`: the commands of admin/commands on the command line, and the dialogue with the node. */
import { readFileSync } from "node:fs";
import type { Argv } from "yargs";
import { argumentInfo, type Command } from "../admin/command.js";
import { commands } from "../admin/commands/index.js";
import { request } from "../admin/ctl-client.js";
import { ctlPath, requestBytesMax } from "../admin/ctl-protocol.js";
import { Refusal } from "../lib/refusal.js";
import type { Terminal } from "./output.js";
import { UsageError } from "./usage.js";

/** One command as it was typed. */
export interface CtlCall {
  readonly command: string;
  readonly args: Readonly<Record<string, unknown>>;
  /** What the operator is still asked for, unless it stands in a file. */
  readonly secrets: readonly SecretArgument[];
  /** Arguments that name a file whose text is sent. */
  readonly files: readonly string[];
  readonly force: boolean;
  readonly json: boolean;
}

/** Largest file that is sent: as JSON it still fits into a request. */
const fileBytesMax = requestBytesMax / 2;

interface SecretArgument {
  readonly key: string;
  readonly about: string;
  readonly file: string | undefined;
}

/** Offers every command of the table to the parser; `onCall` gets the one that was typed. */
export function addCtlCommands<T>(parser: Argv<T>, onCall: (call: CtlCall) => void): Argv<T> {
  const groups = new Map<string, [string, Command][]>();
  for (const [name, command] of commands) {
    const [group = name, word] = name.split(" ");
    if (word === undefined) addCommand(parser, name, name, command, onCall);
    else groups.set(group, [...(groups.get(group) ?? []), [name, command]]);
  }
  for (const [group, members] of groups) {
    const words = members.map(([name]) => name.split(" ")[1] ?? name);
    parser.command(`${group}`, `${words.join(", ")}: see ${group} --help`, (inner) => {
      for (const [index, [name, command]] of members.entries()) {
        addCommand(inner, words[index] ?? name, name, command, onCall);
      }
      return inner.demandCommand(1, `say what: ${words.join(", ")}`);
    });
  }
  return parser.demandCommand(1, "name a command; `broker ctl --help` lists them");
}

/**
 * Sends the command to the node, asks the operator when the node has a question, and prints the
 * answer. Returns the exit code.
 */
export async function runCtl(
  call: CtlCall,
  node: { readonly runDir: string; readonly name: string },
  terminal: Terminal,
): Promise<number> {
  const { command, json } = call;
  const args = await argumentsOf(call, terminal);
  const path = ctlPath(node.runDir, node.name);
  let response = await request(path, { command, args, force: call.force });
  if ("confirm" in response) {
    if (!(await confirmed(response.confirm, json, terminal))) {
      terminal.print("Operation discarded by user");
      return 1;
    }
    response = await request(path, { command, args, force: true });
  }
  if ("confirm" in response) throw new Refusal("the node asks the same question again");
  if (!response.ok) {
    throw response.usage === true ? new UsageError(response.error) : new Refusal(response.error);
  }
  terminal.print(json ? JSON.stringify(response.result) : response.text);
  return 0;
}

/** The arguments that are sent: with secrets that were asked for, and the texts of files. */
export async function argumentsOf(
  call: CtlCall,
  terminal: Terminal,
): Promise<Record<string, unknown>> {
  const args = { ...call.args };
  for (const secret of call.secrets) args[secret.key] = await readSecret(secret, terminal);
  for (const key of call.files) args[key] = readText(String(args[key]), fileBytesMax);
  return args;
}

/** Asks until the answer is yes or no. */
export async function confirmed(
  question: string,
  json: boolean,
  terminal: Terminal,
): Promise<boolean> {
  for (;;) {
    const answer = await terminal.ask(`${question} (yes/no)`, json ? "error" : "output");
    if (answer === undefined)
      throw new Refusal("neither yes nor no was answered; -f skips the question");
    if (answer.trim() === "yes") return true;
    if (answer.trim() === "no") return false;
  }
}

/** The first line of the secret's file, or what the operator types, twice the same. */
async function readSecret(secret: SecretArgument, terminal: Terminal): Promise<string> {
  const { key, about, file } = secret;
  if (file !== undefined) {
    return readText(file, fileBytesMax).split(/\r?\n/, 1)[0] ?? "";
  }
  const typed = await terminal.askSecret(`${about}:`);
  if (typed === undefined)
    throw new Refusal(`no ${key} was given; --${key}-file reads it from a file`);
  const again = await terminal.askSecret("once more:");
  if (typed !== again) throw new Refusal("that was not the same twice; nothing has been changed");
  return typed;
}

function readText(file: string, bytesMax: number): string {
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    throw new Refusal(`the file ${file} cannot be read: ${codeOf(error)}`);
  }
  if (bytes.length <= bytesMax) return bytes.toString();
  throw new Refusal(`the file ${file} is larger than ${bytesMax} bytes: split it`);
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : String(error);
}

function addCommand<T>(
  parser: Argv<T>,
  word: string,
  name: string,
  command: Command,
  onCall: (call: CtlCall) => void,
): void {
  // A place is named in capitals, so that it cannot be mistaken for the option of the same name.
  const all = Object.entries(command.args).map(([key, schema]) => {
    const info = argumentInfo.get(schema);
    const positional = info?.positional === true;
    return { key, info, positional, label: positional ? key.toUpperCase() : key, schema };
  });
  const keys = all.filter(({ info }) => info?.secret !== true);
  const hidden = all.filter(({ info }) => info?.secret === true);
  const places = keys
    .filter(({ positional }) => positional)
    .map(({ label, schema }) =>
      schema.safeParse(undefined).success ? `[${label}]` : `<${label}>`,
    );
  parser.command(
    [word, ...places].join(" "),
    command.summary,
    (inner) => {
      for (const { label, positional, info } of keys) {
        const { type = "string", about = "" } = info ?? {};
        if (positional) inner.positional(label, { type: "string", describe: about });
        else inner.option(label, { type, describe: about, requiresArg: type !== "boolean" });
      }
      for (const { key } of hidden) {
        const describe = `read the ${key} from the first line of a file instead of asking`;
        inner.option(`${key}-file`, { type: "string", describe, requiresArg: true });
      }
      if (command.asks) {
        inner.option("force", { alias: "f", type: "boolean", describe: "do not ask" });
      }
      return inner;
    },
    (argv: Readonly<Record<string, unknown>>) => {
      const given = keys.filter(({ label }) => argv[label] !== undefined);
      const args = Object.fromEntries(given.map(({ key, label }) => [key, argv[label]]));
      const secrets = hidden.map(({ key, info }) => {
        const file = argv[`${key}-file`];
        return {
          key,
          about: info?.about ?? key,
          file: file === undefined ? undefined : String(file),
        };
      });
      const files = keys.filter(({ info }) => info?.file === true).map(({ key }) => key);
      onCall({
        ...{ command: name, args, secrets, files },
        ...{ force: argv.force === true, json: argv.json === true },
      });
    },
  );
}
