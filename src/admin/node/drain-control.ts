/** Taking sessions and clients away from this node: `drain`, `rebalance`, and what `leave_cluster` does first. */
import type { Cluster } from "../../cluster/cluster.js";
import type { Config } from "../../config/schema.js";
import type { Clock } from "../../lib/clock.js";
import type { Log } from "../../lib/log.js";
import { Refusal } from "../../lib/refusal.js";
import type { Service, ServiceReason } from "../../lib/service.js";
import type { FrontEnd } from "../../net/front-end.js";
import { ReasonCode } from "../../protocol/reason-codes.js";
import { Relocation } from "../../session/move/relocation.js";
import type { BalancePlan, DrainControl, DrainStatus } from "../parts.js";

/** So long others may take to have what clients left behind. */
const willsMs = 5_000;

export interface DrainParts {
  readonly cluster: Cluster;
  readonly frontEnd: FrontEnd;
  readonly service: Service;
  readonly config: Config;
  readonly clock: Clock;
  readonly log: Log;
}

export class Drain implements DrainControl {
  private readonly relocation: Relocation | null;
  private kind: DrainStatus["kind"] = "none";

  constructor(private readonly parts: DrainParts) {
    const { frontEnd, config, clock, log } = parts;
    const { sessions } = frontEnd;
    const { rate } = config.drain;
    this.relocation =
      sessions.moves === null
        ? null
        : new Relocation({
            ...{ moves: sessions.moves, sessions, clock, log, rate },
            targets: () => this.targets(),
          });
  }

  start(): DrainStatus {
    this.checkOthers();
    const relocation = this.idle();
    this.closeGate("draining", "this node is being drained", ReasonCode.UseAnotherServer);
    this.kind = "drain";
    void relocation.empty(ReasonCode.UseAnotherServer);
    return this.status();
  }

  undo(): DrainStatus {
    if (!this.parts.service.has("draining")) throw new Refusal("this node is not being drained");
    this.relocation?.stop();
    this.kind = "none";
    this.openGate("draining");
    return this.status();
  }

  status(): DrainStatus {
    const progress = this.relocation?.progress ?? idleProgress;
    const { sessions } = this.parts.frontEnd;
    let clients = 0;
    for (const { channel } of sessions.all()) if (channel?.node === null) clients++;
    clients += sessions.remote?.nearSize ?? 0;
    return { kind: this.kind, ...progress, sessions: this.relocation?.left ?? 0, clients };
  }

  plan(): BalancePlan {
    const own = this.relocation?.left ?? 0;
    const nodes = [{ name: this.parts.cluster.name, sessions: own }, ...this.targets()];
    const sum = nodes.reduce((all, { sessions }) => all + sessions, 0);
    const gives = Math.max(0, own - Math.ceil(sum / nodes.length));
    return { nodes, gives };
  }

  balance(): DrainStatus {
    this.checkOthers();
    const { gives } = this.plan();
    if (gives === 0) throw new Refusal("this node has no more sessions than its share");
    if (this.parts.service.has("draining")) throw new Refusal("this node is being drained");
    const relocation = this.idle();
    this.kind = "rebalance";
    void relocation.give(gives);
    return this.status();
  }

  stopBalance(): DrainStatus {
    if (this.kind !== "rebalance") throw new Refusal("no rebalancing is under way here");
    this.relocation?.stop();
    return this.status();
  }

  /** Before this node leaves: everything goes, then the rest of the clients. @throws Refusal what cannot go */
  async leave(): Promise<void> {
    if (this.targets().length === 0 || this.relocation === null) return;
    this.checkNobodyAway();
    this.relocation.stop();
    this.kind = "leave";
    this.closeGate("leaving", "this node leaves its cluster", ReasonCode.ServerMoved);
    const left = await this.relocation.empty(ReasonCode.ServerMoved);
    await this.parts.frontEnd.sessions.wills.settled(this.parts.clock, willsMs);
    const why = this.relocation.progress.lastRefusal;
    if (left > 0) {
      this.left();
      throw new Refusal(`${left} sessions could not be moved, and this node has not left: ${why}`);
    }
    try {
      this.checkNobodyAway();
    } catch (error) {
      this.left();
      throw error;
    }
  }

  /** It has left, or stays: clients are let in again. */
  left(): void {
    this.kind = "none";
    this.openGate("leaving");
  }

  /** @throws Refusal something is under way */
  private idle(): Relocation {
    const { relocation } = this;
    if (relocation === null) throw new Refusal("sessions of this node do not move");
    if (relocation.isRunning && this.kind !== "drain") {
      throw new Refusal("sessions are being moved already: see its status, or stop it first");
    }
    relocation.stop();
    return relocation;
  }

  private checkOthers(): void {
    if (this.targets().length === 0) {
      throw new Refusal("there is no other node that is up, to which sessions could go");
    }
  }

  /** A member that is down may have messages for sessions of this node, which come here when it is back. */
  private checkNobodyAway(): void {
    const { cluster, frontEnd } = this.parts;
    const away = new Set(frontEnd.sessions.moves?.stubs.origins);
    for (const { name } of this.relocation?.left ? cluster.peers() : []) {
      if (cluster.state(name) === "down") away.add(name);
    }
    if (away.size === 0) return;
    throw new Refusal(
      `${[...away].join(", ")} may have messages for sessions of this node, which would be lost: ` +
        "leave when all nodes are up, or remove those that will not be back",
    );
  }

  private targets(): { name: string; sessions: number }[] {
    const { cluster } = this.parts;
    const up = cluster.peers().filter(({ name }) => cluster.state(name) === "up");
    return up.map(({ name, sessions }) => ({ name, sessions }));
  }

  private closeGate(reason: ServiceReason, why: string, code: number): void {
    const { service, frontEnd } = this.parts;
    service.set(reason, why);
    frontEnd.gate.reason = code;
    if (frontEnd.sessions.moves !== null) frontEnd.sessions.moves.closed = why;
  }

  private openGate(reason: ServiceReason): void {
    const { service, frontEnd } = this.parts;
    service.clear(reason);
    frontEnd.gate.reason = 0;
    if (frontEnd.sessions.moves !== null) frontEnd.sessions.moves.closed = null;
  }
}

const idleProgress = { state: "idle", moved: 0, closed: 0, failed: 0, lastRefusal: "" } as const;
