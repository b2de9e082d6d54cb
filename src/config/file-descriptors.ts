/** How many files and sockets the system lets this process have open at once. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";

/**
 * The limit on open file descriptors (Node raises the soft one to the hard one when it starts), or
 * undefined where the system does not say; Infinity when there is none.
 */
export function fileDescriptorLimit(): number | undefined {
  try {
    const line = /^Max open files\s+(\S+)/m.exec(readFileSync("/proc/self/limits", "utf8"));
    return parse(line?.[1]);
  } catch {
    return fromShell();
  }
}

function fromShell(): number | undefined {
  try {
    return parse(execFileSync("sh", ["-c", "ulimit -n"], { encoding: "utf8" }).trim());
  } catch {
    return undefined;
  }
}

function parse(text: string | undefined): number | undefined {
  if (text === "unlimited") return Number.POSITIVE_INFINITY;
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined;
}
