/**
 * Replaces a small file as a whole: after a crash at any moment it holds the old content or the new one,
 * and only its owner can read it.
 */
import { mkdir, open, rename } from "node:fs/promises";
import { dirname } from "node:path";

/**
 * Writes `content` beside `path` and renames it; resolves when it is durable. One call at a time for a
 * path. Rejects with the error of the file system; the file then holds what it held.
 */
export async function replaceFile(path: string, content: string): Promise<void> {
  const directory = dirname(path);
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const temporary = `${path}.new`;
  const file = await open(temporary, "w", 0o600);
  try {
    // One that a crash has left may have another mode.
    await file.chmod(0o600);
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
  // The new name is durable only when the directory is.
  const handle = await open(directory, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
