/**
 * One process at a time works in a data directory. Each that wants to listens on a Unix socket of its
 * own there, and then asks every other socket in the directory: the kernel says who is alive, so neither
 * a kill -9, nor a restarted machine, nor a process id that was given again leaves a lock behind. Whoever
 * listens before it looks cannot be missed: of two that start in the same instant one or both refuse.
 */
import { mkdir, open, readdir, rm } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { connect, createServer } from "node:net";
import type { Server } from "node:net";
import { join } from "node:path";
import type { Random } from "../lib/random.js";
import { Refusal } from "../lib/refusal.js";

export interface DirectoryLock {
  /** Lets others in. */
  release(): Promise<void>;
}

const socketPattern = /^lock-(\d+)-[0-9a-f]+\.sock$/;
/** sockaddr_un has room for 108 bytes on Linux and 104 elsewhere; a longer path is cut silently. */
const socketPathBytesMax = 100;

/**
 * Locks `directory` for this process; makes it when it is missing.
 * @throws Refusal when another process has it, or when the file system can hold no lock
 */
export async function lockDirectory(directory: string, random: Random): Promise<DirectoryLock> {
  const name = `lock-${process.pid}-${random.bytes(8).toString("hex")}.sock`;
  let handle: FileHandle;
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    handle = await open(directory, "r");
  } catch (error) {
    throw new Refusal(`cannot open the data directory ${directory}: ${messageOf(error)}`);
  }
  const base = shortPath(directory, name, handle);
  let server: Server | undefined;
  const release = async (): Promise<void> => {
    // Closing removes the socket's file.
    await new Promise<void>((resolve) => {
      if (server === undefined) resolve();
      else server.close(() => resolve());
    });
    server = undefined;
    await handle.close();
  };
  try {
    server = await listen(join(base, name), directory);
    await refuseOthers(directory, base, name);
  } catch (error) {
    await release();
    throw error;
  }
  return { release };
}

/** The directory by a path that leaves room for a socket's name. */
function shortPath(directory: string, name: string, handle: FileHandle): string {
  if (Buffer.byteLength(join(directory, name)) <= socketPathBytesMax) return directory;
  // Where there is no /proc, listening there fails, with a sentence.
  return `/proc/self/fd/${handle.fd}`;
}

function listen(path: string, directory: string): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once("error", (error) => {
      reject(new Refusal(`cannot lock the data directory ${directory}: ${error.message}`));
    });
    // exclusive: a worker locks for itself, and not through the process that started it.
    server.listen({ path, exclusive: true }, () => {
      server.removeAllListeners("error");
      // A failed accept does not matter: whoever connected knows what it wanted to.
      server.on("error", () => undefined);
      server.unref();
      resolve(server);
    });
  });
}

async function refuseOthers(directory: string, base: string, own: string): Promise<void> {
  for (const entry of await readdir(directory)) {
    const match = socketPattern.exec(entry);
    if (match === null || entry === own) continue;
    if (await isAlive(join(base, entry))) {
      throw new Refusal(
        `the data directory ${directory} is in use by another node (process ${match[1]}): ` +
          "stop that one, or give this one another node.data_dir",
      );
    }
    // Names are never used again, so nobody can have come to life under this one.
    await rm(join(directory, entry), { force: true });
  }
}

function isAlive(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path }, () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", (error: NodeJS.ErrnoException) => {
      // Anything else, such as a full backlog, does not prove that its process is gone.
      resolve(error.code !== "ECONNREFUSED" && error.code !== "ENOENT");
    });
  });
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
