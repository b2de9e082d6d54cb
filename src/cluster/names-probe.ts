/** Who answers on the link ports of a host: there is no port-mapper daemon to ask. */
import type { ClusterContext } from "./context.js";
import { type DialTarget, dialProved } from "./dial.js";
import { Purpose } from "./handshake.js";

export interface AnsweringNode extends DialTarget {
  readonly name: string;
}

export interface ProbeResult {
  readonly nodes: readonly AnsweringNode[];
  /** Some node answered whose cookie is not ours. */
  readonly wrongCookie: boolean;
  /** Versions spoken by nodes that have none in common with us. */
  readonly otherVersions: readonly string[];
}

/** Asks every port of the range at once; calls `done` when all have answered or failed. */
export function probeHost(
  context: ClusterContext,
  host: string,
  done: (result: ProbeResult) => void,
): void {
  const [first, last] = context.settings.portRange;
  const nodes: AnsweringNode[] = [];
  const otherVersions: string[] = [];
  let wrongCookie = false;
  let open = last - first + 1;
  for (let port = first; port <= last; port++) {
    dialProved(context, { host, port }, Purpose.names, (result) => {
      if (result.kind === "proved") {
        nodes.push({ name: result.peer.name, host, port });
        result.wire.destroy();
      }
      if (result.kind === "answered" && result.answer.code === 1) wrongCookie = true;
      if (result.kind === "answered" && result.answer.code === 2) {
        otherVersions.push(result.answer.detail);
      }
      if (--open > 0) return;
      nodes.sort((a, b) => a.port - b.port);
      done({ nodes, wrongCookie, otherVersions });
    });
  }
}

/** Where a node of that name answers on that host; null: nowhere. */
export function findNode(
  context: ClusterContext,
  host: string,
  name: string,
  done: (found: DialTarget | null) => void,
): void {
  probeHost(context, host, ({ nodes }) => done(nodes.find((node) => node.name === name) ?? null));
}
