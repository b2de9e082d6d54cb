/**
 * The cluster as one node sees it: its members, a peer for each of them, and what routing asks for.
 * Knows nothing of MQTT. A single node is a cluster of one and goes the same ways.
 */
import { assert } from "../lib/assert.js";
import type { Clock, Timer } from "../lib/clock.js";
import { HybridClock } from "../lib/hlc.js";
import type { Log } from "../lib/log.js";
import type { Random } from "../lib/random.js";
import type { StateFile } from "../store/state-file.js";
import { Acceptor } from "./accept.js";
import { admit, removedSentence } from "./admission.js";
import { Changes } from "./changes.js";
import { Channels } from "./channels.js";
import { CommonTable } from "./common-table.js";
import type { ClusterContext, ClusterSettings } from "./context.js";
import { Barriers } from "./barrier.js";
import { DirectoryService } from "./directory.js";
import type { ConnectionHost } from "./directory-types.js";
import { type DurableParts, forgetOthers } from "./durable.js";
import { type DetectorEvent, FailureDetector, type PeerState } from "./failure-detector.js";
import { type Identity, Purpose, type PurposeCode, type RefuseAnswer } from "./handshake.js";
import { answerCall, answerJoin } from "./calls.js";
import type { Link } from "./link.js";
import { LinkMaker } from "./link-maker.js";
import type { ClusterState } from "./member-list.js";
import { Membership } from "./membership.js";
import { parseNodeName } from "./names.js";
import { Peer, type PeerHost, type PeerLoad } from "./peer.js";
import type { Position } from "./position.js";
import type { ClusterPort, ClusterUser, PartHead, Receipt } from "./ports.js";
import { ownIndex } from "./ports.js";
import { Redialer } from "./redialer.js";
import { Refusals } from "./refusals.js";
import { RowTable } from "./row-table.js";
import { Services } from "./services.js";
import { Sides } from "./sides.js";
import { StampKeeper } from "./stamp-keeper.js";
import { StreamReceiver } from "./stream-receiver.js";
import { askOthers } from "./suspicion.js";
import type { Transport } from "./transport.js";
import { frame, FrameType } from "./wire/frames.js";
import type { Body, Member } from "./wire/messages.js";
import type { Wire } from "./wire/wire.js";

export interface ClusterOptions {
  /** `name@host` of this node. */
  readonly name: string;
  readonly cookie: string;
  readonly settings: ClusterSettings;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly transport: Transport;
  readonly stateFile: StateFile<ClusterState>;
  /** Where outboxes, peers' rows and the highest stamp are durable; null: nowhere. */
  readonly durable: DurableParts | null;
}

/** The layers above. */
export interface ClusterParts {
  readonly user: ClusterUser;
  readonly host: ConnectionHost;
  /** What heartbeats say of this node, for `status`. */
  load(): { readonly connections: number; readonly sessions: number };
}

interface Slot {
  /** Of its data directory. */
  readonly id: string;
  readonly peer: Peer;
  readonly redialer: Redialer;
  /** Highest incarnation seen. */
  incarnation: number;
  /** A dial has failed since the start: waiting for it at start-up is pointless. */
  tried: boolean;
  readonly refusals: Refusals;
}

export class Cluster implements ClusterPort, PeerHost {
  readonly counters = { linksMade: 0, linksLost: 0, linkFaults: 0, downs: 0, suspects: 0 };
  readonly stamps: HybridClock;
  readonly context: ClusterContext;
  readonly members: Membership;
  readonly table: RowTable;
  /** What all members know alike. */
  readonly common: CommonTable;
  readonly directory: DirectoryService;
  readonly acceptor: Acceptor;
  readonly barriers = new Barriers(this);
  /** Is that peer not to send yet? What waits for this node comes when sessions know what of it is theirs. */
  holdsStream: (peer: string) => boolean = () => false;
  readonly sides = new Sides(this);
  /** Questions of the layers above. */
  readonly services = new Services();
  readonly channels: Channels;
  private readonly stampKeeper: StampKeeper | null;
  private readonly detector: FailureDetector;
  private readonly linkMaker: LinkMaker;
  private readonly slots = new Map<string, Slot>();
  private readonly byIndex: (Peer | undefined)[] = [];
  /** What was taken of each node's stream, by name and id: one that leaves and comes back may repeat. */
  private readonly receivers = new Map<string, StreamReceiver>();
  private parts: ClusterParts | null = null;
  newestCounter = 0;
  private heartbeatTimer: Timer | undefined;
  private streamTimer: Timer | undefined;
  private stopped = false;
  /** A join is under way: members that heard of it may dial before we know that they took us in. */
  joining = false;
  /** Of peers' states. */
  readonly changes: Changes;

  constructor(private readonly options: ClusterOptions) {
    const { name, cookie, settings, clock, random, log, transport } = options;
    this.stamps = new HybridClock(clock);
    this.changes = new Changes(clock);
    this.channels = new Channels(clock, settings.outputBytes);
    const commits = options.durable?.commits ?? null;
    this.stampKeeper = commits === null ? null : new StampKeeper(this.stamps, commits);
    this.context = {
      ...{ name, cookie, settings, clock, random, log, transport, commits },
      identity: (token) => this.members.identity(token),
    };
    this.acceptor = new Acceptor(this.context, {
      admit: (peer, purpose) => this.admit(peer, purpose),
      onProved: (wire, peer, purpose) => this.onProved(wire, peer, purpose),
    });
    const host = settings.advertiseHost ?? parseNodeName(name).host;
    this.members = new Membership({
      ...{ name, stamps: this.stamps, random, log, stateFile: options.stateFile },
      address: () => ({ host, port: settings.advertisePort ?? this.acceptor.port }),
      wallMs: () => clock.wallMs(),
      onChanged: (changed) => this.onMembersChanged(changed),
    });
    this.detector = new FailureDetector(settings);
    this.table = new RowTable(clock, () => this.peers(), settings.syncTimeoutMs);
    this.common = new CommonTable({
      ...{ clock, stamps: this.stamps, commits, forgetAfterMs: settings.forgetAfterMs },
      peers: () => this.peers(),
    });
    this.linkMaker = new LinkMaker(this.context, {
      hasFreshLink: (peer) => this.hasFreshLink(peer),
      onLink: (link) => this.onLink(link),
    });
    this.directory = new DirectoryService({
      ...{ self: name, clock, stamps: this.stamps },
      takeoverTimeoutMs: settings.takeoverTimeoutMs,
      liveMembers: () => this.liveMembers(),
      linkTo: (node) => this.peer(node)?.link ?? null,
    });
  }

  get name(): string {
    return this.options.name;
  }

  /** The layers above; must be called before `start`. */
  attach(parts: ClusterParts): void {
    this.parts = parts;
    this.directory.attachHost(parts.host);
  }

  /**
   * Loads who we are and whom we know, listens for links and begins to dial the members. Rejects when the
   * state cannot be kept or no link port is free.
   */
  async start(): Promise<void> {
    if (this.options.durable !== null) await this.stampKeeper?.load(this.options.durable.store);
    await this.members.load();
    // Nobody may hear of an incarnation that could be used again.
    await this.members.store();
    await this.loadDurable();
    await this.acceptor.open();
    await this.members.announceSelf();
    for (const { redialer } of this.slots.values()) redialer.poke();
    this.heartbeat();
    this.streamTick();
  }

  /** What is stored of each member; what is of nobody known goes. */
  private async loadDurable(): Promise<void> {
    const { durable } = this.options;
    const others = this.members.others();
    for (const member of others) this.ensureSlot(member.name, member.id);
    if (durable === null) return;
    for (const { peer } of this.slots.values()) await peer.load(durable.store);
    await this.common.load(durable.store);
    const known = new Set(others.map(({ name, id }) => `${name} ${id}`));
    await forgetOthers(durable, known, this.options.clock);
  }

  /** Peers whose streams are held no longer may send what they have for this node. */
  openStreams(): void {
    for (const peer of this.peers()) if (!this.holdsStream(peer.name)) peer.openStream();
  }

  /** Resolves when every member is up or was dialled in vain, at most after `timeoutMs`. */
  async settled(timeoutMs: number): Promise<void> {
    const slots = (): boolean =>
      [...this.slots].every(([name, slot]) => slot.tried || this.state(name) === "up");
    await this.when(slots, timeoutMs);
  }

  /** Resolves with true once `condition` holds after a change of a peer, false after `timeoutMs`. */
  when(condition: () => boolean, timeoutMs: number): Promise<boolean> {
    return this.changes.when(condition, timeoutMs);
  }

  /** Ends all links; peers are told that this node stops. */
  stop(): void {
    this.stopped = true;
    const timers = [this.heartbeatTimer, this.streamTimer];
    for (const timer of timers) this.options.clock.clearTimer(timer);
    this.acceptor.close();
    this.linkMaker.close();
    for (const { peer, redialer } of this.slots.values()) {
      redialer.stop();
      peer.drop("stopped");
    }
  }

  /** How this node sees a member. */
  state(name: string): PeerState {
    return name === this.name ? "up" : this.detector.state(name);
  }

  peer(name: string): Peer | undefined {
    return this.slots.get(name)?.peer;
  }

  /** The peer with that index. */
  peerAt(index: number): Peer | undefined {
    return this.byIndex[index];
  }

  peers(): Peer[] {
    return this.byIndex.filter((peer) => peer !== undefined);
  }

  /** Milliseconds since anything came from that node; -1: never. */
  silenceMs(name: string): number {
    return this.detector.silenceMs(name, this.options.clock.monotonicMs());
  }

  /** Every member that is up or suspect, this node included. */
  liveMembers(): string[] {
    const live = this.peers().filter((peer) => this.isWaitedFor(peer.name));
    return [this.name, ...live.map((peer) => peer.name)];
  }

  /** What was taken so far of each origin's forwards, and published here. */
  positions(): Position[] {
    const { incarnation } = this.members;
    const own = { origin: this.name, incarnation, counter: this.newestCounter };
    return [own, ...this.peers().map((peer) => peer.position)];
  }

  /** Asks a service of another node. Null: there is no link, or it broke, or that node has no such service. */
  ask(node: string, service: string, body: Uint8Array): Promise<Uint8Array | null> {
    return new Promise((resolve) => {
      const link = this.peer(node)?.link ?? null;
      if (link === null) resolve(null);
      else link.call("ask", { service, body }, (reply) => resolve(reply?.body ?? null));
    });
  }

  /** Sends the member list to all peers that are linked. */
  gossip(): void {
    for (const peer of this.peers()) this.sendMembers(peer);
  }

  nextCounter(): number {
    return ++this.newestCounter;
  }

  nextStamp(): number {
    return this.stamps.next();
  }

  observeStamp(stamp: number): void {
    this.stamps.observe(stamp);
  }

  send(index: number, frame: Buffer): boolean {
    return this.byIndex[index]?.sender.sendPlain(frame) ?? false;
  }

  sendNumbered(
    index: number,
    counter: number,
    frame: Buffer,
    durable: boolean,
    receipt: Receipt,
  ): boolean {
    return this.byIndex[index]?.sender.send(counter, frame, durable, receipt) ?? false;
  }

  sendPart(
    index: number,
    head: PartHead,
    counter: number,
    bytes: Buffer,
    start: number,
    end: number,
    kind: number,
    durable: boolean,
    receipt: Receipt | null,
  ): boolean {
    const sender = this.byIndex[index]?.sender;
    return sender?.sendPart(head, counter, bytes, start, end, kind, durable, receipt) ?? false;
  }

  hasRoom(index: number, bytes: number): boolean {
    return this.byIndex[index]?.sender.hasRoom(bytes) ?? true;
  }

  livePeers(): readonly number[] {
    return this.peers().flatMap(({ name, index }) => (this.state(name) === "down" ? [] : [index]));
  }

  setRow(key: string, value: number): void {
    this.table.set(key, value);
  }

  whenSynced(done: () => void): void {
    this.table.whenSynced(done);
  }

  tell(index: number, body: Uint8Array): void {
    this.byIndex[index]?.link?.sendControl(frame(FrameType.tell, body));
  }

  nameOf(index: number): string {
    return index === ownIndex ? this.name : (this.byIndex[index]?.name ?? "");
  }

  tellBacklog(index: number): number {
    return this.byIndex[index]?.link?.controlBufferedBytes ?? Number.POSITIVE_INFINITY;
  }

  forwardAccepted(index: number, incarnation: number, counter: number): void {
    this.byIndex[index]?.forwardAccepted(incarnation, counter);
  }

  isWaitedFor(name: string): boolean {
    const state = this.detector.state(name);
    return state === "up" || state === "suspect";
  }

  onHeard(peer: Peer): void {
    this.step({ kind: "heard", peer: peer.name });
  }

  onSynced(peer: Peer): void {
    this.step({ kind: "synced", peer: peer.name });
    this.directory.onLinked(peer.name);
    this.user.onPeerUp(peer.index);
  }

  onUnlinked(peer: Peer, fault: string | null): void {
    this.counters.linksLost++;
    if (fault !== null) this.counters.linkFaults++;
    this.options.log.warn({ peer: peer.name, fault }, "the link is gone");
    this.step({ kind: "unlinked", peer: peer.name });
    if (!this.stopped) this.slots.get(peer.name)?.redialer.poke();
  }

  onMembers(_peer: Peer, { members, stamp }: Body<"members">): void {
    this.stamps.observe(stamp);
    this.members.merge(members);
  }

  onCall(peer: Peer, link: Link, id: number, verb: string, body: unknown): void {
    answerCall(this, peer, link, { id, verb, body });
  }

  onBye(peer: Peer, why: Body<"bye">["why"]): void {
    this.options.log.info({ peer: peer.name, why }, "the peer closes the link");
    peer.drop();
    if (why === "stopped") this.step({ kind: "gone", peer: peer.name });
  }

  private get user(): ClusterUser {
    assert(this.parts !== null, "the cluster was started before it was attached");
    return this.parts.user;
  }

  private admit(peer: Identity, purpose: PurposeCode): RefuseAnswer | null {
    const { members, slots } = this;
    const view = {
      self: members.identity(),
      joining: this.joining,
      leftStamp: members.leftStamp,
      member: (name: string) => members.get(name),
      incarnationOf: (name: string) => slots.get(name)?.incarnation ?? 0,
    };
    return admit(view, peer, purpose);
  }

  private onProved(wire: Wire, peer: Identity, purpose: PurposeCode): void {
    if (purpose === Purpose.control) this.linkMaker.onControl(wire, peer, null);
    else if (purpose === Purpose.data) this.linkMaker.onData(wire, peer);
    else if (purpose === Purpose.join) answerJoin(this, wire, peer);
    else wire.close();
  }

  private hasFreshLink(peer: Identity): boolean {
    const slot = this.slots.get(peer.name);
    if (slot === undefined || slot.peer.link === null) return false;
    const silent = this.silenceMs(peer.name) > this.options.settings.heartbeatIntervalMs * 2;
    return slot.incarnation === peer.incarnation && !silent;
  }

  private onLink(link: Link): void {
    const slot = this.slots.get(link.peer.name);
    // A connection of an earlier start may have been proved late.
    if (this.stopped || slot === undefined || link.peer.incarnation < slot.incarnation) {
      link.close();
      return;
    }
    const { peer } = slot;
    peer.drop();
    // A newer incarnation is first a "down" of the older one.
    if (link.peer.incarnation > slot.incarnation && slot.incarnation > 0) {
      this.step({ kind: "gone", peer: peer.name, isBack: true });
    }
    slot.incarnation = peer.incarnation = link.peer.incarnation;
    slot.refusals.clear();
    slot.redialer.linked();
    this.counters.linksMade++;
    this.options.log.info({ peer: peer.name, remote: link.remote }, "linked");
    this.step({ kind: "linked", peer: peer.name });
    peer.attach(link);
    this.sendMembers(peer);
    link.send("tableDigest", this.common.digest());
    peer.sendHeartbeat(this.load());
  }

  private load(): PeerLoad {
    return { connections: 0, sessions: 0, ...this.parts?.load(), stamp: this.stamps.present };
  }

  private sendMembers(peer: Peer): void {
    peer.link?.send("members", { members: this.members.everything(), stamp: this.stamps.next() });
  }

  private onMembersChanged(changed: readonly Member[]): void {
    if (this.stopped) return;
    if (changed.some((member) => this.members.isRemoval(member))) this.onRemoved();
    for (const name of new Set(changed.map((member) => member.name))) {
      if (name !== this.name) this.follow(name);
    }
    this.gossip();
    this.changes.notify();
  }

  /** Has a slot for a member, and none for anybody else; another data directory is another member. */
  private follow(name: string): void {
    const member = this.members.get(name);
    const slot = this.slots.get(name);
    if (slot !== undefined && (member?.status !== "in" || member.id !== slot.id)) {
      const removed = this.members.entry(name, slot.id)?.status === "removed";
      this.dropSlot(name, removed ? "removed" : "left");
    }
    if (member?.status === "in") this.ensureSlot(name, member.id).redialer.poke();
  }

  /** This node was removed from its cluster: it goes on as a cluster of one. */
  private onRemoved(): void {
    this.options.log.error(
      { node: this.name },
      `this node is on its own now: ${removedSentence(this.name)}`,
    );
    this.members.wasRemoved().catch((error: unknown) => {
      this.options.log.error({ error: String(error) }, "the members could not be stored");
    });
  }

  private ensureSlot(name: string, id: string): Slot {
    const known = this.slots.get(name);
    if (known !== undefined) return known;
    const index = this.byIndex.length;
    const directory = `${name} ${id}`;
    const receiver = this.receivers.get(directory) ?? new StreamReceiver();
    this.receivers.set(directory, receiver);
    const { context, user, table } = this;
    const peer = new Peer(name, directory, index, context, this, user, table, receiver);
    const redialer = new Redialer(name, this.context, {
      target: () => this.members.get(name) ?? { host: "", port: 0 },
      hasLink: () => peer.link !== null,
      onControl: (wire, identity, target) => this.linkMaker.onControl(wire, identity, target),
      onFailed: (why) => this.onDialFailed(name, why),
    });
    const refusals = new Refusals(name, this.context, this.members, {
      onRemoved: () => this.onRemoved(),
      isActive: () => this.slots.get(name) === slot && !this.joining && !this.stopped,
    });
    const slot: Slot = { id, peer, redialer, refusals, incarnation: 0, tried: false };
    this.slots.set(name, slot);
    this.byIndex[index] = peer;
    return slot;
  }

  /** A member left or was removed: nothing of it is kept. */
  private dropSlot(name: string, why: "left" | "removed"): void {
    const slot = this.slots.get(name);
    if (slot === undefined) return;
    this.options.log.info({ peer: name, why }, "no member any more");
    this.slots.delete(name);
    slot.redialer.stop();
    // A removed node must learn it from the list before the link closes. One that left knows, and
    // when it is we who leave, our fresh entry would bring us back.
    if (why === "removed") this.sendMembers(slot.peer);
    slot.peer.drop(why);
    delete this.byIndex[slot.peer.index];
    // What is not accepted goes to others, if they can take it: not to this one any more.
    this.user.onPeerState(slot.peer.index, "down");
    const { index } = slot.peer;
    for (const key of this.user.peerRowKeys(index)) {
      if (key !== undefined) this.user.setPeerRow(index, key, 0);
    }
    slot.peer.sender.discard();
    slot.peer.forget();
    slot.peer.receiver.acceptAll();
    this.step({ kind: "forget", peer: name });
    this.directory.home.forget(name);
    this.directory.onMembersChanged();
    this.table.release();
  }

  private onDialFailed(name: string, why: RefuseAnswer | "gone" | "unreachable"): void {
    const slot = this.slots.get(name);
    if (slot === undefined) return;
    slot.tried = true;
    if (why === "gone") this.step({ kind: "gone", peer: name });
    else if (why === "unreachable") this.sides.onUnreachable(name);
    else slot.refusals.onRefused(why);
    this.changes.notify();
  }

  private step(event: DetectorEvent): void {
    this.sides.note(event);
    const effects = this.detector.step(event, this.options.clock.monotonicMs());
    for (const effect of effects) {
      if (effect.kind === "ask") this.confirm(effect.peer);
      else this.onState(effect.peer, effect.before, effect.after);
    }
  }

  private onState(name: string, before: PeerState, after: PeerState): void {
    const slot = this.slots.get(name);
    if (slot === undefined) return;
    const { peer } = slot;
    peer.sinceMs = this.options.clock.wallMs();
    this.options.log.info({ peer: name, before, after }, `peer is ${after}`);
    this.user.onPeerState(peer.index, after);
    if (after === "suspect") this.counters.suspects++;
    if (after === "down") {
      this.sides.onDown(name);
      this.counters.downs++;
      this.stamps.observe(peer.stampBound(this.silenceMs(name), this.stamps.latest));
      peer.sender.setDown();
      peer.drop();
      this.directory.home.onDown(name);
      slot.redialer.poke();
    } else peer.sender.setLive();
    this.directory.onMembersChanged();
    this.table.release();
    this.changes.notify();
  }

  private confirm(suspect: string): void {
    const { suspectAfterMs } = this.options.settings;
    askOthers(this.peers(), suspect, suspectAfterMs, (heard) => {
      this.step({ kind: "confirmed", peer: suspect, heard });
    });
  }

  private heartbeat(): void {
    const { clock, settings } = this.options;
    this.heartbeatTimer = clock.setTimer(settings.heartbeatIntervalMs, () => this.heartbeat());
    const load = this.load();
    for (const peer of this.peers()) {
      peer.sendHeartbeat(load);
      peer.sender.pump();
      if (peer.sender.isReady) this.user.onPeerReady(peer.index);
    }
    this.step({ kind: "tick" });
  }

  private streamTick(): void {
    const { clock, settings } = this.options;
    this.streamTimer = clock.setTimer(settings.ackTimeoutMs / 2, () => this.streamTick());
    for (const peer of this.peers()) peer.tick();
  }
}
