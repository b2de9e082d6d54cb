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

/** How long an answer may take that a node owes when it stops. */
const closeMs = 1000;

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
  const connections = new Set<Connection>();
  const server = createServer((socket) => {
    if (connections.size >= connectionsMax) {
      socket.end(encode({ ok: false, error: "too many control connections" }));
      return;
    }
    const connection = new Connection(socket, parts, log);
    connections.add(connection);
    socket.on("close", () => connections.delete(connection));
  });
  await listen(server, path, name);
  await chmod(path, 0o600);
  return {
    path,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const connection of connections) connection.close();
      }),
  };
}

/** The sentence for a node that is started twice. */
export function alreadyRuns(name: string, path: string): string {
  return `a node named ${name} runs already (it answers on ${path}); stop it, or start this one with another --node`;
}

/**
 * Runs one request. It never throws: whatever goes wrong is the answer. All but the last part of a long list go
 * to `onPart`, which says when to go on.
 */
export async function respond(
  line: string,
  parts: Parts,
  log: Log,
  onPart: (part: CtlResponse) => Promise<void>,
): Promise<CtlResponse> {
  try {
    const request = requestSchema.safeParse(parseJson(line));
    if (!request.success) return { ok: false, error: "the request is not understood", usage: true };
    const { command: name, args, force } = request.data;
    const command = commands.get(name);
    if (command === undefined) {
      return { ok: false, error: `there is no command ${name}`, usage: true };
    }
    const call = command.prepare(args);
    const question = force ? undefined : await call.question(parts);
    if (question !== undefined) return { confirm: question };
    const last = await call.run(parts, (part) => onPart({ ok: true, ...part, more: true }));
    return { ok: true, ...last };
  } catch (error) {
    if (error instanceof WrongUsage) return { ok: false, error: error.message, usage: true };
    if (error instanceof Refusal) return { ok: false, error: error.message };
    log.error({ error: error instanceof Error ? error.stack : String(error) }, "a command failed");
    return { ok: false, error: `the command failed inside the node: ${String(error)}` };
  }
}

class Connection {
  private pending = Buffer.alloc(0);
  private busy = false;
  private closing = false;

  constructor(
    private readonly socket: Socket,
    private readonly parts: Parts,
    private readonly log: Log,
  ) {
    socket.on("error", () => socket.destroy());
    socket.on("data", (bytes) => {
      this.pending = Buffer.concat([this.pending, bytes]);
      if (!this.busy) void this.work();
    });
  }

  /** Ends the connection after the answer that it waits for, if that comes soon. */
  close(): void {
    this.closing = true;
    if (this.busy) this.socket.setTimeout(closeMs, () => this.socket.destroy());
    else this.socket.destroySoon();
  }

  /** Answers every complete line, in order. */
  private async work(): Promise<void> {
    this.busy = true;
    // Nothing more is read while requests are at work: the socket's own buffer is the limit.
    this.socket.pause();
    for (let end = this.pending.indexOf(10); end >= 0; end = this.pending.indexOf(10)) {
      const line = this.pending.subarray(0, end).toString("utf8");
      this.pending = this.pending.subarray(end + 1);
      const response = await respond(line, this.parts, this.log, (part) => this.send(part));
      if (this.socket.writable) this.socket.write(encode(response));
      if (this.closing) break;
    }
    this.busy = false;
    if (this.closing) this.socket.destroySoon();
    else if (this.pending.length > requestBytesMax) this.refuse();
    else this.socket.resume();
  }

  /** Resolves when the operator's end has taken what it was sent. @throws Refusal when it is gone, or the node stops */
  private async send(part: CtlResponse): Promise<void> {
    const { socket } = this;
    if (!socket.writable || this.closing) throw new Refusal("the list is not sent to its end");
    await new Promise<void>((resolve) => {
      socket.write(encode(part), () => resolve());
    });
  }

  private refuse(): void {
    const error = `the request is longer than ${requestBytesMax} bytes`;
    this.socket.end(encode({ ok: false, error, usage: true }));
  }
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
    // exclusive: each worker answers for itself.
    server.listen({ path, exclusive: true }, resolve);
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
