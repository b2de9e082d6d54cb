/**
 * The socket of a supervisor: one line in, and either the end of the connection when all has stopped (`stop`),
 * or one line of JSON with the workers (`workers`).
 */
import { rm } from "node:fs/promises";
import { createConnection, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { z } from "zod";

const stopWord = "stop\n";
const workersWord = "workers\n";
const answerMs = 5000;
const suffix = ".supervisor.sock";

const stateSchema = z.object({
  /** Null: the node has no workers. */
  workers: z
    .array(
      z.object({
        name: z.string(),
        state: z.enum(["running", "waiting", "down"]),
        pid: z.int().nullable(),
      }),
    )
    .readonly()
    .nullable(),
});

/** What a supervisor looks after. */
export type SupervisorState = z.output<typeof stateSchema>;

/** One process that a supervisor of workers keeps running; `pid`: null while it does not. */
export type WorkerState = NonNullable<SupervisorState["workers"]>[number];

/** Path of the socket of a node's supervisor. */
export function supervisorPath(runDir: string, name: string): string {
  return join(runDir, name + suffix);
}

/** The node whose supervisor's socket has this file name, or undefined. */
export function nodeOfSupervisor(fileName: string): string | undefined {
  return fileName.endsWith(suffix) ? fileName.slice(0, -suffix.length) : undefined;
}

/** The supervisor's end. */
export interface SupervisorSocket {
  close(): Promise<void>;
}

/** Opens the socket. Whoever asks for the stop is told of its end by the end of the connection. */
export async function openSupervisorSocket(
  path: string,
  state: () => SupervisorState,
  onStop: () => void,
): Promise<SupervisorSocket> {
  // The node of this name is ours, so nobody else's supervisor can be behind the path.
  await rm(path, { force: true });
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    open.add(socket);
    socket.on("error", () => socket.destroy());
    socket.on("close", () => open.delete(socket));
    socket.on("data", (bytes) => {
      const line = bytes.toString("utf8");
      if (line.startsWith(stopWord)) onStop();
      else if (line.startsWith(workersWord)) socket.end(`${JSON.stringify(state())}\n`);
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, resolve);
  });
  return {
    async close() {
      await rm(path, { force: true });
      server.close();
      for (const socket of open) socket.destroy();
    },
  };
}

/** Asks a supervisor to stop what it looks after. True when there was one and it has ended. */
export function askToStop(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    let reached = false;
    const socket = createConnection(path);
    socket.on("connect", () => {
      reached = true;
      socket.write(stopWord);
      socket.resume();
    });
    socket.on("error", () => socket.destroy());
    socket.on("close", () => resolve(reached));
  });
}

/** What the supervisor looks after; undefined: none answers there. */
export function askState(path: string): Promise<SupervisorState | undefined> {
  return new Promise((resolve) => {
    let text = "";
    const socket = createConnection(path);
    socket.setTimeout(answerMs, () => socket.destroy());
    socket.on("connect", () => socket.write(workersWord));
    socket.on("data", (bytes) => {
      text += bytes.toString("utf8");
    });
    socket.on("error", () => socket.destroy());
    socket.on("close", () => resolve(parse(text)));
  });
}

function parse(text: string): SupervisorState | undefined {
  try {
    return stateSchema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}
