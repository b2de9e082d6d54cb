/** Who has met whom again, and so what nodes know of subscriptions, and which messages have reached them: noted as time goes by. */
import type { World } from "../world/world.js";
import type { SimClient } from "./client.js";
import type { Ledger, Sent } from "./ledger.js";
import type { SessionNode } from "./node.js";

/** A commit that nothing holds up takes less. */
const settledMs = 500;
/** What waited for a node is there, and committed. */
const outboxMs = 1000;
/** Nodes that are linked for so long know each other's rows. */
const rowsMs = 200;

export class Meetings {
  constructor(
    private readonly world: World,
    private readonly nodes: readonly SessionNode[],
    private readonly clients: readonly SimClient[],
    private readonly ledger: Ledger,
  ) {}

  get areAllUp(): boolean {
    const { nodes } = this;
    return nodes.every((one) => nodes.every((other) => one === other || this.areUp(one, other)));
  }

  /** Do two nodes see and reach each other, and can both store what they learn? A cut that nobody has noticed yet counts. */
  areUp(one: SessionNode, other: SessionNode): boolean {
    if (one.store.failing !== null || other.store.failing !== null) return false;
    if (!one.isInReach || !other.isInReach) return false;
    if (one !== other && this.world.isCut(one.place, other.place)) return false;
    return seeEachOther(one, other);
  }

  /** To be called every now and then. */
  note(): void {
    this.noteRows();
    for (const node of this.nodes) node.lookAfter();
    this.noteCutOffs();
    for (const sent of this.ledger.sent) {
      if (sent.acknowledgedMs === Number.POSITIVE_INFINITY) continue;
      this.noteReached(sent);
      const { place, life, acknowledgedMs } = sent;
      const wellMs = this.world.nowMs - Math.max(place.wellSinceMs, acknowledgedMs);
      if (place.lives.length === life && wellMs > settledMs) sent.isSettled = true;
    }
  }

  /** Nodes that were cut off meet the others again. */
  private noteCutOffs(): void {
    const { nowMs } = this.world;
    for (const node of this.nodes) {
      for (const { untilMs, metMs } of node.cutOffs) {
        if (untilMs > nowMs) continue;
        for (const { name } of this.nodes.filter((other) => seeEachOther(node, other))) {
          if (!metMs.has(name)) metMs.set(name, nowMs);
        }
      }
    }
  }

  /** What waited for a node that was down is there when both are linked for a while. */
  private noteReached({ place, reachedMs, metMs }: Sent): void {
    const { nowMs } = this.world;
    for (const node of this.nodes) {
      if (reachedMs.has(node.name)) continue;
      if (!this.areUp(place, node)) metMs.delete(node.name);
      else if (!metMs.has(node.name)) metMs.set(node.name, nowMs);
      else if (nowMs - (metMs.get(node.name) ?? nowMs) > outboxMs) reachedMs.set(node.name, nowMs);
    }
  }

  /** The others learn of a subscription when they are linked with its session's node for a while. */
  private noteRows(): void {
    const { nowMs } = this.world;
    for (const client of this.clients) {
      const { interests } = client;
      const node = client.sessionNode();
      for (const { knownMs, metMs, grantedMs } of interests) {
        for (const other of this.nodes) {
          if (grantedMs > nowMs || knownMs.has(other.name)) continue;
          if (!this.areUp(node, other)) metMs.delete(other.name);
          else if (!metMs.has(other.name)) metMs.set(other.name, nowMs);
          else if (nowMs - (metMs.get(other.name) ?? nowMs) > rowsMs)
            knownMs.set(other.name, nowMs);
        }
      }
    }
  }
}

/** Are both up for each other? */
function seeEachOther(one: SessionNode, other: SessionNode): boolean {
  const seen = one.process?.cluster.state(other.name);
  return seen === "up" && other.process?.cluster.state(one.name) === "up";
}
