/**
 * The value of the row of a share group (docs/wire.md, "Rows"): what an ordinary row says, and how many
 * members the node has, so that publishers can give every member its part.
 */
import { isRowValue, rowValue } from "./leaf.js";

/** A node's part of a group. */
export interface SharedRow {
  /** Highest QoS among its members. */
  readonly qos: number;
  /** A member of QoS 1 or 2 is of a session that outlives its connection. */
  readonly durable: boolean;
  /** Members that are connected. */
  readonly online: number;
  /** Members that are not, and take QoS 1 and 2 into their queues. */
  readonly waiting: number;
}

/** A higher number of members is written as this. */
export const sharedMembersMax = 0x3fff;
const onlineUnit = 16;
const waitingUnit = onlineUnit * (sharedMembersMax + 1);

export function sharedRowValue({ qos, durable, online, waiting }: SharedRow): number {
  const onlineMembers = Math.min(online, sharedMembersMax);
  const waitingMembers = Math.min(waiting, sharedMembersMax);
  return rowValue(qos, durable) + onlineMembers * onlineUnit + waitingMembers * waitingUnit;
}

/** Is it a value that `sharedRowValue` can give? */
export function isSharedRowValue(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= 0xffff_ffff && isRowValue(value & 15);
}

export function sharedRow(value: number): SharedRow {
  return {
    qos: value & 3,
    durable: (value & 4) !== 0,
    online: Math.floor(value / onlineUnit) & sharedMembersMax,
    waiting: Math.floor(value / waitingUnit),
  };
}
