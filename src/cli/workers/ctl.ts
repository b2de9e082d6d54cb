/**
 * `broker ctl` for a node with workers. Each worker is a member of the cluster and knows its own clients and
 * sessions only; to the operator they are one node: lists and counters are put together, whoever is looked for is
 * found, and what concerns the whole cluster goes to one of them.
 */
import { request } from "../../admin/ctl-client.js";
import { ctlPath, type CtlResponse } from "../../admin/ctl-protocol.js";
import { json, table } from "../../admin/render.js";
import { Refusal } from "../../lib/refusal.js";
import { argumentsOf, type CtlCall, confirmed, runCtl } from "../ctl.js";
import type { Terminal } from "../output.js";
import type { WorkerState } from "../supervisor-socket.js";
import type { Target } from "../target.js";
import { merged } from "./merge.js";
import { reachOf } from "./reach.js";
import { statusOf } from "./status.js";

/** Sends the command to whoever it is for. Returns the exit code. */
export async function runCtlAt(call: CtlCall, target: Target, terminal: Terminal): Promise<number> {
  const { name, workers, runDir } = target;
  if (workers === null) return runCtl(call, target, terminal);
  const { command } = call;
  const reach = reachOf[command] ?? "any";
  if (reach === "named") {
    const names = workers.map((worker) => worker.name).join(", ");
    throw new Refusal(
      `${command} is for one worker of ${name} (${names}): say which with --node; \`broker stop\` stops all`,
    );
  }
  const alive = workers.filter(({ state }) => state === "running").map((worker) => worker.name);
  if (alive.length === 0) throw new Refusal(`no worker of ${name} runs just now`);
  if (command === "status") return showStatus(target, workers, alive, call.json, terminal);
  if (reach === "all") return askAll(call, runDir, alive, terminal);
  if (reach === "owner") return askInTurn(call, runDir, alive, terminal);
  const first = await firstThatAnswers(runDir, alive);
  return runCtl(call, { runDir, name: first }, terminal);
}

async function showStatus(
  { name, runDir }: Target,
  workers: readonly WorkerState[],
  alive: readonly string[],
  asJson: boolean,
  terminal: Terminal,
): Promise<number> {
  const path = ctlPath(runDir, await firstThatAnswers(runDir, alive));
  const response = await request(path, { command: "status" });
  if (!("ok" in response) || !response.ok) throw new Refusal("the status cannot be had");
  const result = statusOf(name, workers, response.result);
  terminal.print(asJson ? JSON.stringify(result) : json(result));
  return 0;
}

async function askAll(
  call: CtlCall,
  runDir: string,
  names: readonly string[],
  terminal: Terminal,
): Promise<number> {
  const args = await argumentsOf(call, terminal);
  const message = { command: call.command, args, force: true };
  const responses = await Promise.all(
    names.map(async (name) => {
      return { name, response: await answerOf(request(ctlPath(runDir, name), message)) };
    }),
  );
  const done: { name: string; result: unknown; text: string }[] = [];
  for (const { name, response } of responses) {
    if (isDone(response)) done.push({ name, ...response });
  }
  const failed = responses.filter(({ response }) => !isDone(response));
  if (done.length > 0) {
    const result = merged(done);
    if (call.json) terminal.print(JSON.stringify(result));
    else terminal.print(textOf(call.command, result, done));
  }
  if (failed.length === 0) return 0;
  throw new Refusal(failed.map(({ name, response }) => `${name}: ${whyNot(response)}`).join("; "));
}

/** Counters are one table; all else is shown worker by worker. */
function textOf(
  command: string,
  result: unknown,
  parts: readonly { readonly name: string; readonly text: string }[],
): string {
  if (command === "metrics" && typeof result === "object" && result !== null) {
    const rows = Object.entries(result).sort(([a], [b]) => (a < b ? -1 : 1));
    return table(
      ["name", "value"],
      rows.map(([key, value]) => [key, Number(value)]),
    );
  }
  return parts.map(({ name, text }) => `${name}:\n${text}`).join("\n\n");
}

/** Asks one worker after the other, until one has what is meant. */
async function askInTurn(
  call: CtlCall,
  runDir: string,
  names: readonly string[],
  terminal: Terminal,
): Promise<number> {
  const args = await argumentsOf(call, terminal);
  let refusal = "";
  for (const name of names) {
    const path = ctlPath(runDir, name);
    const send = (force: boolean): Promise<CtlResponse> =>
      answerOf(request(path, { command: call.command, args, force }));
    let response = await send(call.force);
    if ("confirm" in response) {
      if (!(await confirmed(response.confirm, call.json, terminal))) {
        terminal.print("Operation discarded by user");
        return 1;
      }
      response = await send(true);
    }
    if (isDone(response)) {
      terminal.print(call.json ? JSON.stringify(response.result) : response.text);
      return 0;
    }
    refusal ||= whyNot(response);
  }
  throw new Refusal(refusal.replaceAll("this node", "any of the workers"));
}

async function firstThatAnswers(runDir: string, names: readonly string[]): Promise<string> {
  for (const name of names) {
    const response = await answerOf(request(ctlPath(runDir, name), { command: "report" }, 5000));
    if (isDone(response)) return name;
  }
  throw new Refusal("no worker answers just now");
}

/** A worker that is being started again is one that refuses. */
function answerOf(response: Promise<CtlResponse>): Promise<CtlResponse> {
  return response.catch((error: unknown) => {
    if (!(error instanceof Refusal)) throw error;
    return { ok: false as const, error: error.message };
  });
}

function isDone(response: CtlResponse): response is Extract<CtlResponse, { ok: true }> {
  return "ok" in response && response.ok;
}

function whyNot(response: CtlResponse): string {
  if ("confirm" in response) return "it asks before it goes on";
  return response.ok ? "" : response.error;
}
