/** How a test runs the command line in a process of its own: from the build, which starts faster, unless it is out of date. */
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** Arguments of Node before those of the command line. */
export const programArguments: readonly string[] = isBuilt()
  ? [join(root, "bin", "broker")]
  : ["--import", "tsx", join(root, "test", "cli", "real-main.ts")];

function isBuilt(): boolean {
  const built = modifiedMs(join(root, "dist", ".built"));
  if (built === 0 || modifiedMs(join(root, "tsconfig.build.json")) > built) return false;
  const files = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" });
  return files.every((name) => modifiedMs(join(root, "src", name)) <= built);
}

function modifiedMs(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}
