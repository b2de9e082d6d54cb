/**
 * The node's end of `broker ctl`: a Unix socket that only the owner of the process can open. It answers
 * every line with one line, whatever comes; a request that is too long ends its connection.
 */
import { chmod, lstat, mkdir, rm } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import type { Log } from "../lib/log.js";
import { Refusal } from "../lib/refusal.js";
import { WrongUsage } from "./command.js";
import { commands } from "./commands/index.js";
import { answers } from "./ctl-client.js";
import { type CtlResponse, ctlPath, requestBytesMax, requestSchema } from "./ctl-protocol.js";
import type { Parts } from "./parts.js";

const connectionsMax = 64;
/** The kernel has room for 108 bytes on Linux and 104 elsewhere, and the last one is a zero. */
const pathBytesMax = 103;

export interface CtlServer {
  readonly path: string;
  /** Takes no further requests; answers that are on their way still leave. */
  close(): Promise<void>;
}

/**
 * Opens the control socket of `name` in `runDir`, which is made when it does not exist. A socket that
 * nobody answers on is replaced.
 * @throws Refusal when a node of this name answers already, or others can get at the directory
 */
export async function openCtl(options: {
  readonly runDir: string;
  readonly name: string;
  readonly parts: Parts;
  readonly log: Log;
}): Promise<CtlServer> {
  const { runDir, name, parts, log } = options;
  const path = ctlPath(runDir, name);
  const length = Buffer.byteLength(path);
  if (length > pathBytesMax) {
    throw new Refusal(
      `the control socket ${path} has a path of ${length} bytes, at most ${pathBytesMax} are possible: ` +
        "set node.run_dir to a shorter path",
    );
  }
  await prepareDirectory(runDir);
  if (await answers(path)) throw new Refusal(alreadyRuns(name, path));
  await rm(path, { force: true });
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    if (sockets.size >= connectionsMax) {
      socket.end(encode({ ok: false, error: "too many control connections" }));
      return;
    }
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    serve(socket, parts, log);
  });
  await listen(server, path, name);
  await chmod(path, 0o600);
  return {
    path,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroySoon();
      }),
  };
}

/** The sentence for a node that is started twice. */
export function alreadyRuns(name: string, path: string): string {
  return `a node named ${name} runs already (it answers on ${path}); stop it, or start this one with another --node`;
}

/** Runs one request. It never throws: whatever goes wrong is the answer. */
export async function respond(line: string, parts: Parts, log: Log): Promise<CtlResponse> {
  try {
    const request = requestSchema.safeParse(parseJson(line));
    if (!request.success) return { ok: false, error: "the request is not understood", usage: true };
    const { command: name, args, force } = request.data;
    const command = commands.get(name);
    if (command === undefined) {
      return { ok: false, error: `there is no command ${name}`, usage: true };
    }
    const call = command.prepare(args);
    const question = force ? undefined : call.question(parts);
    if (question !== undefined) return { confirm: question };
    return { ok: true, ...(await call.run(parts)) };
  } catch (error) {
    if (error instanceof WrongUsage) return { ok: false, error: error.message, usage: true };
    if (error instanceof Refusal) return { ok: false, error: error.message };
    log.error({ error: error instanceof Error ? error.stack : String(error) }, "a command failed");
    return { ok: false, error: `the command failed inside the node: ${String(error)}` };
  }
}

function serve(socket: Socket, parts: Parts, log: Log): void {
  let pending = Buffer.alloc(0);
  let busy = false;
  const work = async (): Promise<void> => {
    if (busy) return;
    busy = true;
    // Nothing more is read while requests are at work: the socket's own buffer is the limit.
    socket.pause();
    for (let end = pending.indexOf(10); end >= 0; end = pending.indexOf(10)) {
      const line = pending.subarray(0, end).toString("utf8");
      pending = pending.subarray(end + 1);
      const response = await respond(line, parts, log);
      if (!socket.writable) return;
      socket.write(encode(response));
    }
    busy = false;
    if (pending.length <= requestBytesMax) {
      socket.resume();
      return;
    }
    const error = `the request is longer than ${requestBytesMax} bytes`;
    socket.end(encode({ ok: false, error, usage: true }));
  };
  socket.on("data", (bytes) => {
    pending = Buffer.concat([pending, bytes]);
    void work();
  });
  socket.on("error", () => socket.destroy());
}

async function prepareDirectory(runDir: string): Promise<void> {
  try {
    await mkdir(runDir, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new Refusal(`the run directory ${runDir} cannot be made: ${String(error)}`);
  }
  const status = await lstat(runDir);
  if (!status.isDirectory()) throw new Refusal(`the run directory ${runDir} is no directory`);
  if (status.uid !== process.getuid?.()) {
    throw new Refusal(
      `the run directory ${runDir} belongs to another user (uid ${status.uid}): set node.run_dir to one of your own`,
    );
  }
  if ((status.mode & 0o077) !== 0) {
    throw new Refusal(`others can get at the run directory ${runDir}: run \`chmod 700 ${runDir}\``);
  }
}

function listen(server: Server, path: string, name: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error) => {
      const taken = "code" in error && error.code === "EADDRINUSE";
      const reason = `the control socket ${path} cannot be opened: ${error.message}`;
      reject(new Refusal(taken ? alreadyRuns(name, path) : reason));
    });
    server.listen(path, resolve);
  });
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

function encode(response: CtlResponse): string {
  return `${JSON.stringify(response)}\n`;
}
