/** Small files that may change while the node runs: when they have, and what they hold. */
import { type FileHandle, open, stat } from "node:fs/promises";

/** The signature of a file that is not there. */
export const missing = "missing";

/** What differs when a file has been changed or replaced. Rejects when that cannot be found out. */
export async function signature(path: string): Promise<string> {
  try {
    return signatureOf(await stat(path));
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return missing;
    throw error;
  }
}

export interface WholeFile {
  readonly text: string;
  /** Permission bits. */
  readonly mode: number;
  readonly signature: string;
}

/** Reads a file. Rejects when it cannot be read, is none, or is larger than `bytesMax`. */
export async function readWhole(path: string, bytesMax: number): Promise<WholeFile> {
  const file: FileHandle = await open(path, "r");
  try {
    // What is read is not older than this, so that a change while it is read is seen the next time.
    const status = await file.stat();
    if (!status.isFile()) throw new Error("it is no file");
    if (status.size > bytesMax) throw new Error(`it is larger than ${bytesMax} bytes`);
    const text = await file.readFile("utf8");
    return { text, mode: status.mode & 0o777, signature: signatureOf(status) };
  } finally {
    await file.close();
  }
}

function signatureOf(status: { ino: number; mtimeMs: number; size: number }): string {
  return `${status.ino} ${status.mtimeMs} ${status.size}`;
}
