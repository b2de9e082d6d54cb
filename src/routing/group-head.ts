/**
 * What the publishes of one connection for one share group have in common on their way to a peer (docs/wire.md,
 * "FORWARDS_SPREAD"): they leave as they came, in one frame with each other.
 */
import type { Receipt } from "../cluster/ports.js";
import type { SingleForward, SpreadHead } from "../cluster/spread-run.js";
import { headOf } from "./forwards.js";
import type { Group } from "./group.js";
import type { Publisher } from "./message.js";

/** Makes single forwards of a frame: whoever sent it. */
export type SplitFrame = (
  frame: Buffer,
  waiting: readonly Receipt[],
  head: GroupHead,
) => readonly SingleForward[];

export class GroupHead implements SpreadHead {
  readonly bytes: Buffer;

  constructor(
    readonly group: Group,
    readonly peer: number,
    /** First byte and version that all of them have: what becomes of them when the peer goes down depends on the QoS. */
    readonly shape: number,
    via: Publisher,
    private readonly splitFrame: SplitFrame,
  ) {
    via.head ??= headOf(via);
    const key = Buffer.from(group.key, "utf8");
    const length = Buffer.from([key.length >> 8, key.length & 0xff]);
    this.bytes = Buffer.concat([length, key, via.head]);
  }

  split(frame: Buffer, waiting: readonly Receipt[]): readonly SingleForward[] {
    return this.splitFrame(frame, waiting, this);
  }
}
