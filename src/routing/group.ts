/**
 * One share group: the subscribers of one `$share/name/filter`, our own as members, those of peers as
 * numbers of members. Found by matching the filter; a message goes to one member of it [MQTT-4.8.2].
 */
import type { PeerState } from "../cluster/failure-detector.js";
import { ownIndex as ownNode } from "../cluster/ports.js";
import { plainFilter } from "../protocol/topics.js";
import type { LocalSubscription } from "./leaf.js";
import { type SharedRow, sharedRow, sharedRowValue } from "./shared-row.js";
import type { Qos } from "../protocol/publish.js";
import type { Delivery, PeerTarget, Subscriber } from "./targets.js";

/** Who may be chosen, the best first. */
export const Tier = {
  /** Connected members at nodes that are up. */
  Online: 0,
  /** Members without a connection at nodes that are up: they have queues. */
  Waiting: 1,
  /** Nodes that may be going down, or are just coming. */
  Unsure: 2,
  /** The outboxes of nodes that are down. */
  Outbox: 3,
} as const;
export type Tier = (typeof Tier)[keyof typeof Tier];

/** The nodes of the best tier, each with as many places as it has members there. */
export interface Choice {
  readonly tier: Tier;
  readonly nodes: readonly number[];
  /** Where the places of each node end; they follow one another. */
  readonly ends: readonly number[];
  readonly places: number;
}

/** How a node sees its peers. */
export type PeerStates = (peer: number) => PeerState;

interface Member {
  readonly delivery: Delivery;
  readonly durable: boolean;
  /** The list that it is in, if any. */
  readonly list: Member[] | null;
  place: number;
}

export class Group {
  readonly filter: string;
  /** Turns taken with round robin: among nodes, and among our own members for other nodes' messages. */
  nodeTurn = 0;
  memberTurn = 0;
  private readonly members = new Map<Subscriber, Member>();
  private readonly onlineMembers: Member[] = [];
  private readonly waitingMembers: Member[] = [];
  private readonly perQos = [0, 0, 0];
  private durableCount = 0;
  private readonly rows = new Map<number, number>();
  /** Peers that had members with stored sessions here, and have none now; null: there is none. */
  private formerlyDurable: Set<number> | null = null;
  private readonly soleTargets: (readonly [PeerTarget] | undefined)[] = [];
  private choiceNow: Choice | null = null;
  private choiceOf = -1;

  constructor(
    /** `$share/name/filter`. */
    readonly key: string,
  ) {
    this.filter = plainFilter(key);
  }

  get online(): number {
    return this.onlineMembers.length;
  }

  get waiting(): number {
    return this.waitingMembers.length;
  }

  get isEmpty(): boolean {
    return this.members.size === 0 && this.rows.size === 0;
  }

  /** Adds or replaces a member of our own. `online`: it has a connection. */
  setMember(subscriber: Subscriber, subscription: LocalSubscription, online: boolean): void {
    this.deleteMember(subscriber);
    const { qos, retainAsPublished, subscriptionId, durable } = subscription;
    const subscriptionIds = subscriptionId === 0 ? null : [subscriptionId];
    const share = this.key;
    const list = online ? this.onlineMembers : durable && qos > 0 ? this.waitingMembers : null;
    const delivery: Delivery = {
      ...{ subscriber, qos, retainAsPublished, noLocal: false, subscriptionIds, share },
    };
    const member: Member = { delivery, durable, list, place: list === null ? 0 : list.length };
    list?.push(member);
    this.members.set(subscriber, member);
    this.count(member, 1);
  }

  /** Returns false when it was no member. */
  deleteMember(subscriber: Subscriber): boolean {
    const member = this.members.get(subscriber);
    if (member === undefined) return false;
    this.members.delete(subscriber);
    this.count(member, -1);
    const { list, place } = member;
    const last = list?.pop();
    if (list !== null && last !== undefined && last !== member) {
      list[place] = last;
      last.place = place;
    }
    return true;
  }

  /** Sets a peer's row (0 deletes it); returns the value it had, 0 for none. */
  setPeer(peer: number, value: number): number {
    const before = this.rows.get(peer) ?? 0;
    if (before !== 0 && sharedRow(before).durable && (value === 0 || !sharedRow(value).durable)) {
      this.formerlyDurable ??= new Set();
      this.formerlyDurable.add(peer);
    }
    if (value === 0) this.rows.delete(peer);
    else this.rows.set(peer, value);
    this.soleTargets[peer] = undefined;
    this.choiceNow = null;
    return before;
  }

  /** A peer's part, if it has one. */
  peerRow(peer: number): SharedRow | null {
    const value = this.rows.get(peer);
    return value === undefined ? null : sharedRow(value);
  }

  /** May what it was sent for this group be with a stored session there? That may have left before it came. */
  isDurable(peer: number): boolean {
    return this.peerRow(peer)?.durable === true || this.formerlyDurable?.has(peer) === true;
  }

  /** A peer that gets a message for this group alone, and is not down. */
  soleTarget(peer: number): readonly [PeerTarget] {
    let sole = this.soleTargets[peer];
    if (sole === undefined) {
      // Two bits of the row.
      const qos = (this.peerRow(peer)?.qos ?? 0) as Qos;
      sole = [{ peer, qos, durable: false, groups: [this], only: this }];
      this.soleTargets[peer] = sole;
    }
    return sole;
  }

  /** Values of the rows of peers, by index. */
  peerRows(): Iterable<[peer: number, value: number]> {
    return this.rows;
  }

  /** The row that peers must hold of this group; 0 when we have no member. */
  ownRow(): number {
    if (this.members.size === 0) return 0;
    const qos = this.perQos[2] !== 0 ? 2 : this.perQos[1] !== 0 ? 1 : 0;
    const { online, waiting } = this;
    return sharedRowValue({ qos, durable: this.durableCount > 0, online, waiting });
  }

  /** Our own members, and whether they are connected. */
  *ownMembers(): Iterable<{ readonly delivery: Delivery; readonly online: boolean }> {
    for (const { delivery, list } of this.members.values()) {
      yield { delivery, online: list === this.onlineMembers };
    }
  }

  /** Our connected member at this place, counted from 0 and round. */
  onlineAt(place: number): Delivery | undefined {
    return this.onlineMembers[place % this.onlineMembers.length]?.delivery;
  }

  /** Our waiting member at this place, counted from 0 and round. */
  waitingAt(place: number): Delivery | undefined {
    return this.waitingMembers[place % this.waitingMembers.length]?.delivery;
  }

  /**
   * Which nodes may be chosen; null: there is nobody. Kept until a member or a row changes, or
   * `generation`, which is that of the peers' states.
   */
  choice(generation: number, stateOf: PeerStates): Choice | null {
    if (this.choiceNow !== null && this.choiceOf === generation) return this.choiceNow;
    this.choiceOf = generation;
    this.choiceNow =
      this.choose(Tier.Online, stateOf) ??
      this.choose(Tier.Waiting, stateOf) ??
      this.choose(Tier.Unsure, stateOf) ??
      this.choose(Tier.Outbox, stateOf);
    return this.choiceNow;
  }

  private choose(tier: Tier, stateOf: PeerStates): Choice | null {
    const nodes: number[] = [];
    const ends: number[] = [];
    let places = 0;
    const add = (node: number, members: number): void => {
      if (members === 0) return;
      places += members;
      nodes.push(node);
      ends.push(places);
    };
    if (tier === Tier.Online) add(ownNode, this.online);
    if (tier === Tier.Waiting) add(ownNode, this.waiting);
    for (const [peer, value] of this.rows)
      add(peer, placesIn(tier, sharedRow(value), stateOf(peer)));
    return places === 0 ? null : { tier, nodes, ends, places };
  }

  private count({ delivery, durable }: Member, by: number): void {
    this.perQos[delivery.qos] = (this.perQos[delivery.qos] ?? 0) + by;
    if (durable && delivery.qos > 0) this.durableCount += by;
    this.choiceNow = null;
  }
}

/** How many places a peer has in a tier. */
function placesIn(tier: Tier, { online, waiting, durable }: SharedRow, state: PeerState): number {
  switch (tier) {
    case Tier.Online:
      return state === "up" ? online : 0;
    case Tier.Waiting:
      return state === "up" ? waiting : 0;
    case Tier.Unsure:
      return state === "suspect" || state === "joining" ? online + waiting : 0;
    case Tier.Outbox:
      return state === "down" && durable ? Math.max(1, online + waiting) : 0;
  }
}
