/** The wills of clients whose sessions are at other nodes that live: one of each client id, up to a limit. In memory. */
import type { Held } from "./will-entries.js";

/** Most that is held for others; what is more is with its own node alone. */
const heldMax = 1_000_000;
const heldBytesMax = 256 * 1024 * 1024;

export class HeldWills {
  private readonly held = new Map<string, Held>();
  private bytes = 0;

  constructor(private readonly onRefused: () => void) {}

  get size(): number {
    return this.held.size;
  }

  get(clientId: string): Held | undefined {
    return this.held.get(clientId);
  }

  /** All of one node's. They may be dropped on the way. */
  *of(owner: string): Iterable<[clientId: string, entry: Held]> {
    for (const one of this.held) if (one[1].owner === owner) yield one;
  }

  /** In place of none: what was held of the client id is to be dropped before. */
  keep(clientId: string, entry: Held): void {
    const bytes = entry.will.length;
    if (this.held.size >= heldMax || this.bytes + bytes > heldBytesMax) {
      this.onRefused();
      return;
    }
    this.bytes += bytes;
    // Not a view of all that came with it.
    this.held.set(clientId, { ...entry, will: Uint8Array.from(entry.will) });
  }

  drop(clientId: string): void {
    const entry = this.held.get(clientId);
    if (entry === undefined) return;
    this.held.delete(clientId);
    this.bytes -= entry.will.length;
  }
}
