/**
 * How the workers of a node share their ports. Where Node and the system can, each listens for itself and the
 * kernel deals out connections (SO_REUSEPORT); elsewhere, and for Unix sockets, the supervisor listens for all
 * and hands each accepted socket to one of them. A process that is no worker shares nothing.
 */
import cluster from "node:cluster";
import type { ListenOptions } from "node:net";

/** This process is one of the workers of a node. */
export const { isWorker } = cluster;

/** What to add to the options of `listen`. */
export function sharing({ path }: Pick<ListenOptions, "path">): {
  readonly reusePort?: boolean;
} {
  const hasPort = path === undefined;
  const can = canReusePort(process.platform, process.versions.node);
  return isWorker && hasPort && can ? { reusePort: true } : {};
}

/** Node offers SO_REUSEPORT from 23.1 on; not every system spreads connections with it. */
export function canReusePort(platform: NodeJS.Platform, version: string): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return platform === "linux" && (major > 23 || (major === 23 && minor >= 1));
}
