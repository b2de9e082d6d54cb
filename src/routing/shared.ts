/**
 * Gives each message for a share group to one member of it, wherever in the cluster. The publisher's node
 * chooses the node, that node the member; a message comes back into a choice while nobody has got it:
 * when the chosen node goes down, has no member any more, or the member's connection or session ends.
 */
import { type ClusterPort, ownIndex as ownNode, type Receipt } from "../cluster/ports.js";
import type { PeerState } from "../cluster/failure-detector.js";
import type { SingleForward } from "../cluster/spread-run.js";
import { forwardHeaderBytes } from "../cluster/wire/frames.js";
import { assert } from "../lib/assert.js";
import { hashString, mix32 } from "../lib/hash.js";
import type { Random } from "../lib/random.js";
import type { Qos } from "../protocol/publish.js";
import { type Choice, type Group, Tier } from "./group.js";
import { GroupHead, type SplitFrame } from "./group-head.js";
import type { Message, Publisher } from "./message.js";
import type { RouteIndex } from "./route-index.js";
import {
  atFirst,
  readShared,
  type SharedPart,
  type SharedRoute,
  sharedKeysBytes,
  withShared,
} from "./shared-forward.js";
import { hopsMax, type NextMember, nextMember, type Route } from "./second-choice.js";
import { type Delivery, mayTake, noGroups, type PeerTarget, type Targets } from "./targets.js";

/** How one member of many is chosen. */
export type SharedStrategy = "random" | "round_robin" | "hash_client" | "local_first";

export interface SharedSettings {
  readonly strategy: SharedStrategy;
  readonly random: Random;
}

/** What it uses of the router. */
export interface SharedHost {
  readonly cluster: ClusterPort;
  readonly index: RouteIndex;
  encode(message: Message, qos: Qos): Buffer;
  /** Null: it cannot be read. */
  decode(bytes: Buffer, start: number, end: number): Message | null;
  /** The messages of a whole FORWARDS_SPREAD, in its order. */
  messagesOf(frame: Buffer): readonly Message[];
  /** Has it expired? Counted then. */
  isOver(message: Message): boolean;
  /** Delivers to one of our own; `message.pending` grows when it has to wait. */
  deliver(message: Message, delivery: Delivery): void;
}

interface Sending extends SharedRoute {
  readonly peer: number;
  readonly qos: Qos;
  /** The frame without its groups. */
  readonly plain: Buffer;
  readonly durable: boolean;
  /** What the peer is due without the groups, should it go down. */
  readonly due: Buffer | null;
}

/** `Targets` that are being made. */
interface Chosen extends Targets {
  readonly local: Delivery[];
  readonly peers: PeerTarget[];
  readonly groups: Group[];
}

/** Of one UTF-16 code unit. */
const utf8BytesMax = 3;

export class SharedGroups {
  readonly counters = {
    /** Messages given to another member: the first one's connection or session had ended. */
    redispatched: 0,
    /** … the chosen node went down before it had accepted. */
    rerouted: 0,
    /** … the chosen node had no connected member any more. */
    passedOn: 0,
    /** … the chosen node knew of nobody: it gave them back to whoever had chosen it. */
    returned: 0,
    /** Messages that nobody in the cluster could take. */
    noMember: 0,
    /** Messages whose chosen member may not have them by its access rules: another one was looked for. */
    deniedMember: 0,
    /** … and nobody in the group may have them. */
    deniedAll: 0,
    /** QoS 2 messages lost with a node that may have sent them on. */
    lostWithNode: 0,
  };
  private readonly states: PeerState[] = [];
  private statesGeneration = 0;
  private readonly stateOf = (peer: number): PeerState => this.states[peer] ?? "down";

  constructor(
    private readonly host: SharedHost,
    private readonly settings: SharedSettings,
  ) {}

  onPeerState(peer: number, state: PeerState): void {
    this.states[peer] = state;
    this.statesGeneration++;
  }

  /** The targets of a publish with one member or node chosen for each group, as `Router` sends to them. */
  choose(message: Message, found: Targets): Targets {
    const { local, peers, groups } = found;
    const group = groups[0];
    const choice = groups.length === 1 && group !== undefined ? this.usable(group, message) : null;
    // By far the commonest: one group, and nothing else.
    if (choice === null || group === undefined || local.length + peers.length > 0) {
      return this.chooseAll(message, found);
    }
    const place = this.placeIn(group, choice, message);
    const node = nodeAt(choice, place);
    if (node !== ownNode && choice.tier !== Tier.Outbox) {
      return { local, peers: group.soleTarget(node), groups: noGroups };
    }
    const own = node === ownNode ? memberAt(group, choice, place) : undefined;
    if (own !== undefined && mayTake(own, message.topic)) {
      return { local: [own], peers, groups: noGroups };
    }
    const chosen: Chosen = { local: [], peers: [], groups: [] };
    this.addChosen(message, group, choice, place, chosen);
    return chosen;
  }

  /** Sends it as it came to a peer that gets it for this group alone: see `leavesAsItCame`. */
  forwardAsItCame(message: Message, via: Publisher, peer: number, group: Group): void {
    const { counter, bytes, frameStart, payloadEnd, shape, qos } = message;
    via.groupHeads ??= [];
    let head = via.groupHeads[peer];
    if (head === undefined || head.group !== group || head.shape !== shape) {
      head = new GroupHead(group, peer, shape, via, this.splitFrame);
      via.groupHeads[peer] = head;
    }
    const receipt = qos === 0 ? null : message;
    const { cluster } = this.host;
    if (
      cluster.sendPart(peer, head, counter, bytes, frameStart, payloadEnd, 0, false, receipt) &&
      receipt !== null
    ) {
      message.pending++;
    }
  }

  /** Sends one forward for a peer's ordinary rows and the groups that chose it; more if they are many. */
  forward(message: Message, target: PeerTarget, numbered: boolean): void {
    const { peer, durable, groups } = target;
    const qos = numbered ? message.qos : 0;
    const plain = this.host.encode(message, qos);
    const due = durable ? plain : null;
    const isDown = this.stateOf(peer) === "down";
    let end = partEnd(groups, 0);
    const first = end === groups.length ? groups : groups.slice(0, end);
    this.send(message, first, { peer, qos, plain, only: false, ...atFirst, durable, due });
    while (end < groups.length) {
      const start = end;
      end = partEnd(groups, start);
      const more = { peer, qos, plain, only: true, ...atFirst, durable: isDown, due: null };
      this.send(message, groups.slice(start, end), more);
    }
  }

  /** A forward from a peer (`from`) named these groups; `message.pending` grows for each of ours that has to wait. */
  onForward(message: Message, part: SharedPart, from: number): void {
    for (const key of part.keys) {
      const group = this.host.index.group(key);
      if (part.returned) this.giveAgain(message, group, part, from);
      else if (group === undefined) this.giveBack(message, key, part.hops, from);
      else if (part.tried.length > 0 || part.waiting) this.giveNext(message, group, part);
      else this.take(group, message, part.hops, from);
    }
  }

  /** A message of a FORWARDS_SPREAD for the group of that key. */
  onSpread(message: Message, group: Group | undefined, key: string, from: number): void {
    if (group === undefined) this.giveBack(message, key, 0, from);
    else this.take(group, message, 0, from);
  }

  /**
   * Gives a message to another member, after the first one's connection or session ended. `onlineOnly`: to
   * one that is connected, or to nobody. Returns whether it is given; the new member's acceptance is
   * then that of `waiter`.
   */
  redispatch(message: Message, key: string, onlineOnly: boolean, waiter: Receipt | null): boolean {
    const group = this.host.index.group(key);
    const choice = group === undefined ? null : this.choiceOf(group);
    if (group === undefined || choice === null) return false;
    if (onlineOnly && choice.tier !== Tier.Online) return false;
    const copy = this.copyOf(this.host.encode(message, message.qos));
    if (copy === null) return false;
    copy.origin = message.origin;
    copy.identity = message.identity;
    this.counters.redispatched++;
    this.giveCopy(copy, [group], waiter);
    return true;
  }

  /** A peer went down with a forward that it had not accepted: somebody else gets it. */
  reroute(frame: Buffer, message: Message, groups: readonly Group[]): void {
    const end = readShared(frame, forwardHeaderBytes, frame.length).rest;
    const copy = this.copyOf(frame.subarray(0, end));
    if (copy === null || this.host.isOver(message)) {
      message.accept();
      return;
    }
    this.counters.rerouted += groups.length;
    copy.expiresMs = message.expiresMs;
    this.giveCopy(copy, groups, message);
  }

  private chooseAll(message: Message, found: Targets): Targets {
    const chosen: Chosen = { local: found.local.slice(), peers: found.peers.slice(), groups: [] };
    for (const group of found.groups) {
      const choice = this.usable(group, message);
      if (choice === null) {
        this.counters.noMember++;
        chosen.groups.push(group);
      } else {
        this.addChosen(message, group, choice, this.placeIn(group, choice, message), chosen);
      }
    }
    return chosen;
  }

  private addChosen(
    message: Message,
    group: Group,
    choice: Choice,
    place: number,
    { local, peers, groups: unserved }: Chosen,
  ): void {
    const node = nodeAt(choice, place);
    const own = node === ownNode ? memberAt(group, choice, place) : undefined;
    if (own === undefined) addTo(peers, node, group, choice.tier === Tier.Outbox);
    else if (mayTake(own, message.topic)) local.push(own);
    else {
      const next = this.next(message, group, atFirst);
      if (next === null) unserved.push(group);
      else if (next.own !== undefined) local.push(next.own);
      else addTo(peers, next.peer, group, next.durable);
    }
  }

  /** The peer is down: each message of a frame is as if it had been sent by itself. */
  private readonly splitFrame: SplitFrame = (frame, waiting, { group, peer }) => {
    const messages = this.host.messagesOf(frame);
    assert(messages.length === waiting.length, "a frame of ours cannot be read");
    return messages.map((copy, i): SingleForward => {
      const { qos, counter } = copy;
      // What `forwardAsItCame` has given.
      const message = waiting[i] as Message;
      const whole = withShared(this.host.encode(copy, qos), { only: false, ...atFirst }, [group]);
      const sent = { peer, qos, due: null, alone: false };
      return { counter, frame: whole, receipt: new SharedReceipt(this, message, [group], sent) };
    });
  };

  private choiceOf(group: Group): Choice | null {
    return group.choice(this.statesGeneration, this.stateOf);
  }

  /** The choice for this message; null: nobody can take it. */
  private usable(group: Group, message: Message): Choice | null {
    const choice = this.choiceOf(group);
    if (choice === null) return null;
    // QoS 0 waits for nobody.
    const waits = choice.tier === Tier.Waiting || choice.tier === Tier.Outbox;
    return message.qos === 0 && waits ? null : choice;
  }

  private placeIn(group: Group, choice: Choice, message: Message): number {
    const { places, nodes, ends } = choice;
    switch (this.settings.strategy) {
      case "random":
        return this.randomBelow(places);
      case "round_robin":
        return group.nodeTurn++ % places;
      case "hash_client":
        return hashString(message.publisher) % places;
      case "local_first":
        return this.randomBelow(nodes[0] === ownNode ? (ends[0] ?? places) : places);
    }
  }

  private randomBelow(limit: number): number {
    return Math.floor(this.settings.random.fraction() * limit);
  }

  /** The node chose us: the member, or the next node if we have none any more. */
  private take(group: Group, message: Message, hops: number, from: number): void {
    const { online, waiting } = group;
    if (online > 0) {
      const turn = this.memberTurn(group, message, online);
      this.deliver(message, group, group.onlineAt(turn), hops);
      return;
    }
    const choice = hops < hopsMax ? this.usable(group, message) : null;
    // Passed on and back, as what is known of that node is old, it is not passed on again.
    const isBack = hops > 1;
    if (waiting > 0 && message.qos > 0 && (isBack || choice?.tier !== Tier.Online)) {
      const turn = this.memberTurn(group, message, waiting);
      this.deliver(message, group, group.waitingAt(turn), hops);
    } else if (choice !== null) {
      this.counters.passedOn++;
      this.give(message, group, choice, hops + 1);
    } else this.giveBack(message, group.key, hops, from);
  }

  /**
   * Nobody is known here who could take it. Whoever had chosen this node may know of others: a member that was here when this node
   * died is at another one now, which has not been heard of since. Until it has been taken back it is not accepted.
   */
  private giveBack(message: Message, key: string, hops: number, from: number): void {
    if (message.qos === 0 || from === ownNode || hops >= hopsMax) {
      this.counters.noMember++;
      return;
    }
    this.counters.returned++;
    const { cluster } = this.host;
    const plain = this.encodePassed(message, message.qos);
    const route = { ...atFirst, only: true, returned: true, hops: hops + 1 };
    const frame = withShared(plain, route, [{ key }]);
    const counter = cluster.nextCounter();
    if (cluster.sendNumbered(from, counter, frame, true, new ReturnReceipt(message))) {
      message.pending++;
    }
  }

  /** The peer that was chosen knows of nobody, and what this node knows of it may be old: somebody else gets the message. */
  private giveAgain(
    message: Message,
    group: Group | undefined,
    { hops }: SharedPart,
    from: number,
  ): void {
    const { host, stateOf } = this;
    const start = this.settings.random.fraction();
    const asked = { ...atFirst, hops, tried: [host.cluster.nameOf(from)] };
    const next =
      group === undefined
        ? null
        : nextMember(group, message, asked, { cluster: host.cluster, stateOf, start });
    if (next === null || group === undefined) this.counters.noMember++;
    else if (next.own !== undefined) host.deliver(message, next.own);
    else {
      const { peer, durable } = next;
      this.sendTo(message, group, { ...atFirst, peer, durable, hops: next.hops });
    }
  }

  /** Delivers to the chosen member, or to another one if it may not have the message. */
  private deliver(
    message: Message,
    group: Group,
    chosen: Delivery | undefined,
    hops: number,
  ): void {
    if (chosen === undefined) return;
    if (mayTake(chosen, message.topic)) this.host.deliver(message, chosen);
    else this.giveNext(message, group, { ...atFirst, hops });
  }

  /** Who gets a message that the chosen member may not have. */
  private next(message: Message, group: Group, asked: Route): NextMember | null {
    const { host, stateOf } = this;
    const start = this.settings.random.fraction();
    const next = nextMember(group, message, asked, { cluster: host.cluster, stateOf, start });
    this.counters.deniedMember++;
    if (next === null) this.counters.deniedAll++;
    return next;
  }

  private giveNext(message: Message, group: Group, asked: Route): void {
    const next = this.next(message, group, asked);
    if (next === null) return;
    if (next.own !== undefined) this.host.deliver(message, next.own);
    else this.sendTo(message, group, { ...next, returned: false });
  }

  private memberTurn(group: Group, message: Message, members: number): number {
    switch (this.settings.strategy) {
      case "round_robin":
        return group.memberTurn++ % members;
      case "hash_client":
        return mix32(hashString(message.publisher)) % members;
      case "random":
      case "local_first":
        return this.randomBelow(members);
    }
  }

  /** Hands a message to one group, for which it alone is sent from here. */
  private give(message: Message, group: Group, choice: Choice, hops: number): void {
    const place = this.placeIn(group, choice, message);
    const node = nodeAt(choice, place);
    const own = node === ownNode ? memberAt(group, choice, place) : undefined;
    const durable = choice.tier === Tier.Outbox;
    if (own !== undefined) this.deliver(message, group, own, hops);
    else this.sendTo(message, group, { ...atFirst, hops, peer: node, durable });
  }

  private sendTo(
    message: Message,
    group: Group,
    to: Pick<Sending, "peer" | "hops" | "tried" | "waiting" | "returned" | "durable">,
  ): void {
    // Also where all that is known are members at QoS 0: the last of them may have gone, and it comes back then.
    const { qos } = message;
    const plain = this.encodePassed(message, qos);
    this.send(message, [group], { ...to, qos, plain, only: true, due: null });
  }

  /**
   * One of QoS 2 that came through a stream is known by the number that it had there, which it has once more when a later process
   * of this node gets it again, and when a member that had taken it gives it away, or is at another node now.
   */
  private encodePassed(message: Message, qos: Qos): Buffer {
    const { origin } = message;
    if (qos < 2 || !origin?.isStream) return this.host.encode(message, qos);
    const { name, incarnation } = origin;
    message.origin = { name, incarnation };
    const plain = this.host.encode(message, qos);
    // Others here may have it too, as it came.
    message.origin = origin;
    return plain;
  }

  private send(message: Message, groups: readonly Group[], sending: Sending): void {
    const { peer, qos, plain, only, durable, due } = sending;
    const { cluster } = this.host;
    const frame = withShared(plain, sending, groups);
    if (qos === 0) {
      cluster.send(peer, frame);
      return;
    }
    // The message's own number is that of the forward for everybody.
    const counter = only ? cluster.nextCounter() : message.counter;
    const receipt = new SharedReceipt(this, message, groups, { peer, qos, due, alone: only });
    if (cluster.sendNumbered(peer, counter, frame, durable, receipt)) message.pending++;
  }

  /** A new message for the bytes of a frame, which are its own. */
  private copyOf(frame: Buffer): Message | null {
    return this.host.decode(frame, forwardHeaderBytes, frame.length);
  }

  private giveCopy(copy: Message, groups: readonly Group[], waiter: Receipt | null): void {
    copy.pending = 1;
    for (const group of groups) {
      const choice = this.usable(group, copy);
      if (choice === null) this.counters.noMember++;
      else this.give(copy, group, choice, 0);
    }
    if (waiter !== null) copy.sink = { onAccepted: () => waiter.accept() };
    copy.accept();
  }
}

/** Waits for a peer to accept a forward for groups; when it goes down, others get it. */
export class SharedReceipt implements Receipt {
  /** The frame as it was sent, once the peer is down and somebody else is to get it. */
  private moves: Buffer | null = null;
  readonly expiresMs: number;
  readonly alone: boolean;
  private readonly peer: number;
  private readonly qos: Qos;
  private readonly due: Buffer | null;

  constructor(
    private readonly shared: SharedGroups,
    private readonly message: Message,
    private readonly groups: readonly Group[],
    sent: Pick<Sending, "peer" | "qos" | "due"> & { readonly alone: boolean },
  ) {
    this.expiresMs = message.expiresMs;
    this.peer = sent.peer;
    this.qos = sent.qos;
    this.due = sent.due;
    this.alone = sent.alone;
  }

  /** [MQTT-4.8.2-5]: a QoS 2 message that the peer may have sent to a client goes to no other. */
  onDown(frame: Buffer, written: boolean): Buffer | null {
    if (this.qos < 2 || !written) {
      this.moves = frame;
      return this.due;
    }
    const durable = this.groups.some((group) => group.isDurable(this.peer));
    if (durable || this.due !== null) return frame;
    this.shared.counters.lostWithNode += this.groups.length;
    return null;
  }

  accept(): void {
    if (this.moves === null) this.message.accept();
    else this.shared.reroute(this.moves, this.message, this.groups);
  }
}

/** Waits until a peer has taken back what it had sent. Should the peer go down, it is in its outbox. */
class ReturnReceipt implements Receipt {
  readonly alone = true;
  readonly expiresMs: number;

  constructor(private readonly message: Message) {
    this.expiresMs = message.expiresMs;
  }

  accept(): void {
    this.message.accept();
  }
}

function nodeAt({ nodes, ends }: Choice, place: number): number {
  for (let i = 0; i < ends.length; i++) if (place < (ends[i] ?? 0)) return nodes[i] ?? ownNode;
  return ownNode;
}

/** Our own member at a place of ours, which come first. */
function memberAt(group: Group, { tier }: Choice, place: number): Delivery | undefined {
  return tier === Tier.Online ? group.onlineAt(place) : group.waitingAt(place);
}

/** Has a peer get a group's message, in a forward with what it gets already. */
function addTo(peers: PeerTarget[], peer: number, group: Group, outbox: boolean): void {
  // Two bits of the row.
  const qos = (group.peerRow(peer)?.qos ?? 0) as Qos;
  for (let i = 0; i < peers.length; i++) {
    const before = peers[i] as PeerTarget; // i is within the array
    if (before.peer !== peer) continue;
    const groups = before.groups.concat(group);
    const highest = Math.max(before.qos, qos) as Qos; // both are
    peers[i] = { peer, qos: highest, durable: before.durable || outbox, groups };
    return;
  }
  if (outbox) peers.push({ peer, qos, durable: true, groups: [group] });
  else peers.push(group.soleTarget(peer)[0]);
}

/** Where the groups from `start` on end whose keys fit into one forward; there is one at least. */
function partEnd(groups: readonly Group[], start: number): number {
  let bytes = 0;
  let end = start;
  for (; end < groups.length; end++) {
    bytes += (groups[end]?.key.length ?? 0) * utf8BytesMax;
    if (bytes > sharedKeysBytes && end > start) break;
  }
  return end;
}
