/** Several nodes that hold each other's wills, without the nodes: a world of links for test/session/will-holders.test.ts. */
import assert from "node:assert/strict";
import { WillHolders } from "../../src/session/will-holders.js";
import type { NotedWill } from "../../src/session/will-record.js";
import { ManualClock } from "./support.js";

/** So many nodes whose links work unless they are cut. */
export class Nodes {
  readonly clock = new ManualClock();
  readonly nodes = new Map<string, FakeNode>();
  /** Pairs that do not hear each other. */
  readonly cuts = new Set<string>();
  /** Pairs that do not hear each other, and have not noticed that yet. */
  readonly unnoticed = new Set<string>();
  /** Of which it is not known yet that they are dead, by those who are named first. */
  readonly suspects = new Set<string>();
  /** They are no members any more. */
  readonly removed = new Set<string>();
  /** By name of a node: what it has stored of others' wills. */
  readonly stored = new Map<string, Map<string, NotedWill>>();

  constructor(readonly names: readonly string[]) {
    for (const name of names) this.nodes.set(name, new FakeNode(this, name));
    this.changed();
    // They have met for a while.
    this.clock.advance(10_000);
  }

  node(name: string): FakeNode {
    const node = this.nodes.get(name);
    assert.ok(node !== undefined);
    return node;
  }

  hears(one: string, other: string): boolean {
    return !this.cuts.has([one, other].sort().join(" "));
  }

  cut(one: string): void {
    for (const other of this.names) if (other !== one) this.cuts.add([one, other].sort().join(" "));
    this.changed();
  }

  heal(): void {
    this.cuts.clear();
    for (const node of this.nodes.values()) node.links.clear();
    this.changed();
  }

  kill(name: string): void {
    this.node(name).isDead = true;
    this.changed();
  }

  /** A new process under that name; `letGo`: the wills of the one before that are not in its store. */
  restart(name: string, letGo: readonly string[] = []): FakeNode {
    const node = new FakeNode(this, name, this.node(name).incarnation + 1, letGo);
    this.nodes.set(name, node);
    for (const noted of node.stored.values()) node.holders.restoreNote(noted);
    for (const other of this.nodes.values()) other.links.delete(name);
    this.changed();
    return node;
  }

  changed(): void {
    for (const node of this.nodes.values()) if (!node.isDead) node.holders.onMembersChanged();
  }

  /** What was published anywhere. */
  get published(): string[] {
    return [...this.nodes.values()].flatMap((node) => node.published);
  }

  async settle(): Promise<void> {
    for (let i = 0; i < 50; i++) await Promise.resolve();
  }
}

export class FakeNode {
  isDead = false;
  readonly published: string[] = [];
  readonly closed: string[] = [];
  /** Clients that have come here since. */
  readonly back = new Set<string>();
  /** What was entrusted to it, in its store. */
  readonly kept = new Set<string>();
  readonly links = new Map<string, object>();
  readonly holders: WillHolders;
  delayMs = 0;
  /** The wills that it inherits are of QoS 0. */
  isOnceAtMost = false;
  /** Acceptances that are held up, if they are. */
  unaccepted: (() => void)[] | null = null;

  constructor(
    readonly world: Nodes,
    readonly name: string,
    readonly incarnation = 1,
    readonly letGo: readonly string[] = [],
  ) {
    const { clock, names } = world;
    const isUp = (other: string): boolean =>
      other === name || (world.hears(name, other) && world.nodes.get(other)?.isDead !== true);
    const isSuspect = (other: string): boolean => world.suspects.has(`${name} ${other}`);
    const isGone = (other: string): boolean =>
      world.hears(name, other) && world.nodes.get(other)?.isDead === true && !isSuspect(other);
    this.holders = new WillHolders(
      {
        ...{ self: name, clock, incarnation: () => incarnation },
        live: () => names.filter((other) => isUp(other) || isSuspect(other)),
        linkOf: (other) => {
          if (other === name || !isUp(other)) return null;
          const link = this.links.get(other) ?? {};
          this.links.set(other, link);
          return link;
        },
        isMember: (other) => !world.removed.has(other),
        incarnationOf: (other) => (isUp(other) ? (world.nodes.get(other)?.incarnation ?? 0) : 0),
        isGone,
        observe: () => undefined,
        size: () => names.length,
        isWhole: () => names.every((other) => isUp(other) || isGone(other)),
        isLargerSide: () => {
          const here = names.filter(isUp).length;
          return here * 2 > names.filter((other) => !isGone(other)).length;
        },
        ask: async (other, body) =>
          isUp(other) && !world.unnoticed.has([name, other].sort().join(" "))
            ? (world.nodes.get(other)?.holders.onQuestion(name, body) ?? null)
            : null,
      },
      {
        delayMs: () => this.delayMs,
        isOnceAtMost: () => this.isOnceAtMost,
        inherit: (_owner, will, done) => {
          this.published.push(Buffer.from(will).toString());
          if (this.unaccepted === null) done();
          else this.unaccepted.push(done);
        },
        isBack: (clientId) => this.back.has(clientId),
        hasLetGo: (clientId) => letGo.includes(clientId),
        onSettled: (clientId) => this.closed.push(clientId),
        keep: (will) => this.kept.add(Buffer.from(will).toString()),
        unkeep: (clientId) => this.kept.delete(clientId),
        note: (noted) => this.stored.set(keyOf(noted), noted),
        forgetNote: (noted) => this.stored.delete(keyOf(noted)),
        whenNoted: (done) => done(),
      },
    );
  }

  /** What it has noted of others' wills. */
  get stored(): Map<string, NotedWill> {
    const all = this.world.stored.get(this.name) ?? new Map<string, NotedWill>();
    this.world.stored.set(this.name, all);
    return all;
  }

  /** So many clients connect here with wills. */
  async connect(count: number): Promise<string[]> {
    const ids = Array.from({ length: count }, (_, i) => `${this.name}/${i}`);
    for (const id of ids) await this.hold(id, 1);
    return ids;
  }

  hold(id: string, epoch: number): Promise<void> {
    return new Promise((done) => this.holders.hold(id, epoch, Buffer.from(id), done));
  }

  due(id: string, epoch = 1): void {
    this.holders.due(id, epoch, (isOurs) => {
      if (isOurs) this.published.push(id);
    });
  }
}

const keyOf = ({ owner, by, clientId, epoch }: Omit<NotedWill, "process">): string =>
  `${by === owner} ${epoch} ${clientId}`;
