/** The real command line, run from source instead of from the build. */
import { fileURLToPath } from "node:url";
import { type Dependencies, realDependencies } from "../../src/cli/dependencies.js";

export function sourceDependencies(): Dependencies {
  const entry = fileURLToPath(new URL("real-main.ts", import.meta.url));
  return {
    ...realDependencies(),
    self: [process.execPath, "--import", import.meta.resolve("tsx"), entry],
  };
}
