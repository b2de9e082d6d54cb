/** Where the log of a node in the background is. */
import { join } from "node:path";

export function logPath(dataDir: string): string {
  return join(dataDir, "broker.log");
}
