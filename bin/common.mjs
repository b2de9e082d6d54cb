/** What the launcher and the set-up share. Plain JavaScript without dependencies that old Nodes can read. */
import { fileURLToPath } from "node:url";

/** The folder of the package, without a slash at its end. */
export const root = fileURLToPath(new URL("..", import.meta.url)).replace(/[/\\]$/, "");

const oldest = [20, 19];

/** A sentence when this Node is too old, or undefined. */
export function nodeProblem(version = process.versions.node) {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  if (major > oldest[0] || (major === oldest[0] && minor >= oldest[1])) return undefined;
  return `Trellis needs Node ${oldest.join(".")} or newer, this is ${version}`;
}

/** Ends the process with one line and exit code 1. */
export function fail(sentence) {
  console.error(`Error: ${sentence}`);
  process.exit(1);
}
