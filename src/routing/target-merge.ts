/** Folds what a match finds: each subscriber gets one copy, at the highest QoS [MQTT-3.3.4-2], each peer too. */
import type { Qos } from "../protocol/publish.js";
import type { Group } from "./group.js";
import {
  type Entry,
  OwnDelivery,
  type PackedPeer,
  packedDurable,
  packedIndex,
  packedQos,
  packPeer,
  rowValue,
} from "./leaf.js";
import {
  type Delivery,
  noGroups,
  type PeerTarget,
  type Subscriber,
  type Targets,
} from "./targets.js";
import type { MatchSink } from "./trie.js";

/** Up to so many deliveries, looking through them is quicker than a map. */
const scanMax = 16;
const noDeliveries: readonly Delivery[] = [];
const noPeers: readonly PeerTarget[] = [];
const nobody: Targets = { local: noDeliveries, peers: noPeers, groups: noGroups };

/** Used for one match after the other: `targets` gives the result and starts anew. */
export class TargetMerge implements MatchSink {
  private local: Delivery[] | null = null;
  private readonly peers: PackedPeer[] = [];
  private groups: Group[] | null = null;
  /** Places in `local`, once it is long. */
  private places: Map<Subscriber, number> | null = null;
  /** The result where a peer is the only target: by its packed row, as many as peers have kinds of rows. */
  private readonly onlyPeer = new Map<PackedPeer, Targets>();

  add(entry: Entry): void {
    if (typeof entry === "number") {
      this.addPeer(entry);
      return;
    }
    for (const packed of entry.peers) this.addPeer(packed);
    if (entry.groups !== null) {
      this.groups ??= [];
      for (const group of entry.groups) this.groups.push(group);
    }
    if (entry.local === null) return;
    // Within one filter nobody is twice.
    if (this.local === null) this.local = entry.local.slice();
    else for (const own of entry.local) this.addLocal(this.local, own);
  }

  targets(): Targets {
    const { local, groups, peers } = this;
    if (local === null && groups === null && peers.length <= 1) {
      const only = peers.pop();
      return only === undefined ? nobody : this.peerAlone(only);
    }
    const peerTargets = peers.length === 0 ? noPeers : peers.map((one) => this.targetOf(one));
    peers.length = 0;
    this.local = null;
    this.groups = null;
    this.places = null;
    return { local: local ?? noDeliveries, peers: peerTargets, groups: groups ?? noGroups };
  }

  private peerAlone(packed: PackedPeer): Targets {
    const known = this.onlyPeer.get(packed);
    if (known !== undefined) return known;
    const [peer, qos, durable] = [packedIndex(packed), packedQos(packed), packedDurable(packed)];
    const peers = [{ peer, qos, durable, groups: noGroups }];
    const made = { local: noDeliveries, peers, groups: noGroups };
    this.onlyPeer.set(packed, made);
    return made;
  }

  private targetOf(packed: PackedPeer): PeerTarget {
    return this.peerAlone(packed).peers[0] as PeerTarget; // it has just one
  }

  private addPeer(packed: PackedPeer): void {
    const { peers } = this;
    const peer = packedIndex(packed);
    for (let i = 0; i < peers.length; i++) {
      const before = peers[i] as PackedPeer; // within the array
      if (packedIndex(before) !== peer) continue;
      const qos = Math.max(packedQos(before), packedQos(packed));
      const durable = packedDurable(before) || packedDurable(packed);
      peers[i] = packPeer(peer, rowValue(qos, durable));
      return;
    }
    peers.push(packed);
  }

  private addLocal(local: Delivery[], own: OwnDelivery): void {
    const at = this.placeOf(local, own.subscriber);
    if (at !== -1) {
      local[at] = folded(local[at] as Delivery, own); // within the array
      return;
    }
    this.places?.set(own.subscriber, local.length);
    local.push(own);
  }

  private placeOf(local: Delivery[], subscriber: Subscriber): number {
    if (local.length <= scanMax) {
      for (let i = 0; i < local.length; i++) if (local[i]?.subscriber === subscriber) return i;
      return -1;
    }
    if (this.places === null) {
      this.places = new Map();
      for (const [i, one] of local.entries()) this.places.set(one.subscriber, i);
    }
    return this.places.get(subscriber) ?? -1;
  }
}

function folded(before: Delivery, one: OwnDelivery): Delivery {
  const ids = [...(before.subscriptionIds ?? []), ...(one.subscriptionIds ?? [])];
  // Both are QoS values.
  const qos = Math.max(before.qos, one.qos) as Qos;
  // An overlapping subscription that wants its own messages gets them.
  const noLocal = before.noLocal && one.noLocal;
  const retainAsPublished = before.retainAsPublished || one.retainAsPublished;
  const subscriptionIds = ids.length === 0 ? null : ids;
  const { subscriber, durable } = one;
  return new OwnDelivery(
    subscriber,
    qos,
    retainAsPublished,
    noLocal,
    subscriptionIds,
    null,
    durable,
  );
}
