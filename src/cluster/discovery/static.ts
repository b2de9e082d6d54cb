/** Peers are a list in the configuration. */
import { parseNodeAddress } from "../names.js";
import type { FoundNode, Strategy } from "./strategy.js";

export interface StaticSettings {
  /** `name@host` or `name@host:port`. */
  readonly nodes: readonly string[];
}

/**
 * Null when the list is empty.
 * @throws Refusal when an entry is no name of a node
 */
export function staticList({ nodes }: StaticSettings): Strategy | null {
  if (nodes.length === 0) return null;
  const found = nodes.map((text): FoundNode => {
    const { node, host, port } = parseNodeAddress(text);
    return port === null ? { name: node, host } : { name: node, host, port };
  });
  return { find: async () => found };
}
