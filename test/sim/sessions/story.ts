/**
 * A random history of clients and their sessions, from a seed: nodes that crash, stores that stall, clients that come
 * and go, take over their own connections, change their subscriptions and end their sessions, while messages
 * are under way. It ends with everybody online and everything answered.
 */
import type { Qos } from "../../../src/protocol/publish.js";
import { nodeName } from "../cluster-node.js";
import type { Dice } from "../world/dice.js";
import type { Life } from "../world/node.js";
import { World } from "../world/world.js";
import { SharedMemory } from "../../../src/store/shared-memory.js";
import { ownerFaults } from "./checks.js";
import { SimClient } from "./client.js";
import { leaseTimes } from "./shared.js";
import { type Interest, inWords, Ledger, type Sent } from "./ledger.js";
import { Meetings } from "./meetings.js";
import { SessionNode } from "./node.js";
import { lossOf, wereApart } from "./touch.js";

/** What may happen in a history, and how often: chosen by the seed, so that each has a character. */
interface Mix {
  readonly crashes: number;
  readonly stalls: number;
  readonly breaks: number;
  readonly takeovers: number;
  readonly ends: number;
  readonly subscriptions: number;
  /** Clients come back at other nodes. */
  readonly roams: boolean;
  readonly adopts: boolean;
  readonly cuts: number;
  /** Nodes that live and reach nobody, or not the store that all share. */
  readonly cutOffs: number;
  /** How likely they do so while their sessions' nodes are down. */
  readonly haste: number;
}

export interface SessionStoryOptions {
  /** Planted: stores say that a write is durable when it has only begun. */
  readonly answersEarly?: boolean;
  /** Several nodes, and clients that come back at any of them, to the session wherever it is. */
  readonly roams?: boolean;
  /** Their nodes share a store, and adopt the sessions of those that die. */
  readonly adopts?: boolean;
  /** And nodes that live are cut off from the others, from that store, or from both. */
  readonly cutsOff?: boolean;
}

const topics = ["t/a", "t/b", "t/a/x", "u"];
const filters = ["t/a", "t/b", "t/+", "t/#", "#", "u"];
const shareFilters = ["$share/g/t/#", "$share/g/t/#", "$share/g/u"];
const quietMs = 3_000;
/** So long may something be on its way between two nodes (world/network.ts). */
const wayMsMax = 100;
const cutMsMax = 1_000;
/** Long enough to be declared down, and for the lease to lapse. */
const cutOffMsMax = 12_000;
/** What was sent before a session had a new owner has come by then. */
const noticedMs = 150;
/** A client id has one session again so long after all nodes see each other. */
const oneSessionMs = 5_000;
/** A SUBACK that took so long was given without peers that were late, for which it promises nothing. */
const lateMs = 900;
export class SessionStory {
  readonly world: World;
  readonly nodes: SessionNode[] = [];
  readonly clients: SimClient[] = [];
  readonly ledger = new Ledger();
  private readonly meetings: Meetings;
  private readonly life: Life;
  private readonly dice: Dice;
  private readonly mix: Mix;
  private lastCrashMs = Number.NEGATIVE_INFINITY;
  /** At which node each client's session is, and since when that was seen. */
  private readonly owners = new Map<string, { node: SessionNode; sinceMs: number }>();
  private cutOff: { node: SessionNode; life: Life | null; isAlone: boolean } | null = null;

  constructor(
    readonly seed: number,
    private readonly options: SessionStoryOptions = {},
  ) {
    this.world = new World(seed);
    this.meetings = new Meetings(this.world, this.nodes, this.clients, this.ledger);
    this.dice = this.world.dice.fork(7);
    this.life = this.world.node("clients@clients").boot();
    const some = (most: number): number => (this.dice.chance(0.6) ? this.dice.between(0, most) : 0);
    this.mix = {
      ...{
        crashes: this.options.adopts ? 2 : some(2),
        stalls: some(1),
        breaks: some(3),
        takeovers: some(2),
        ends: some(1),
      },
      subscriptions: some(3),
      roams: this.options.roams ?? false,
      cuts: this.options.roams ? some(1) : 0,
      adopts: this.options.adopts ?? false,
      cutOffs: this.options.cutsOff ? 2 : 0,
      haste: this.options.roams && !this.options.adopts && this.dice.chance(0.5) ? 0.5 : 0,
    };
  }

  /** Tells the whole history, and ends when everything is quiet. */
  async tell(): Promise<void> {
    await this.begin();
    const steps = 20 + this.dice.integer(60);
    for (let i = 0; i < steps; i++) {
      await this.step();
      await this.world.run(
        this.dice.chance(0.5) ? this.dice.between(0, 8) : this.dice.between(0, this.pauseMs),
      );
      this.throwFaults();
      this.noteProgress();
    }
    await this.calmDown();
    this.throwFaults();
  }

  /** Now and then long enough to be declared down, and adopted. */
  private get pauseMs(): number {
    const isLong = this.mix.adopts && this.dice.chance(this.mix.cutOffs > 0 ? 0.3 : 0.1);
    return isLong ? 6_000 : 150;
  }

  /** All nodes are killed in the quiet, and everybody comes back. */
  async restartAll(): Promise<void> {
    this.lastCrashMs = this.world.nowMs;
    this.noteProgress();
    for (const node of this.nodes) if (node.process !== null) node.crash();
    await this.calmDown(this.lastCrashMs);
    this.throwFaults();
  }

  private throwFaults(): void {
    for (const { faults } of this.clients) {
      for (const fault of faults) this.world.check(false, () => fault);
    }
  }

  private async begin(): Promise<void> {
    const { dice } = this;
    const isAlone = dice.chance(0.6) && !this.mix.roams;
    const count = isAlone ? 1 : 2 + dice.integer(2);
    const receiveMaximum = dice.pick([4, 20, 100]);
    const { adopts } = this.mix;
    const atomic = dice.chance(0.6) && !adopts;
    const clock = { monotonicMs: () => this.world.nowMs };
    const shared = adopts ? new SharedMemory(clock, leaseTimes.leaseMs) : null;
    const settings = { limits: { receive_maximum: receiveMaximum } };
    for (let i = 0; i < count; i++) {
      const node = new SessionNode(this.world, nodeName(i), settings, shared);
      node.store.atomic = atomic;
      node.store.readMsMax = dice.pick([0, 1, 4]);
      node.store.writeMsMax = dice.pick([1, 5, 30]);
      node.store.answersEarly = this.options.answersEarly ?? false;
      this.nodes.push(node);
    }
    await this.startAll();
    const [first, ...others] = this.nodes;
    for (const node of others) if (first !== undefined) await node.join(first);
    // A node that has not heard of another one cannot adopt what that has.
    if (adopts) await this.world.until(() => this.meetings.areAllUp, 30_000, "all nodes are up");
    this.makeClients();
    if (adopts) for (const node of this.nodes) node.onCrash = () => this.noteOwners();
    for (const client of this.clients) client.connect();
    await this.world.run(dice.between(0, 50));
  }

  private makeClients(): void {
    const { dice } = this;
    const { adopts } = this.mix;
    const count = 3 + dice.integer(5);
    for (let i = 0; i < count; i++) {
      const node = dice.pick(this.nodes);
      const client = new SimClient(
        this.life,
        node,
        {
          clientId: `c${i}`,
          version: dice.pick([4, 5]),
          persistent: dice.chance(0.8),
          receiveMaximum: dice.pick([1, 3, 100]),
          window: dice.pick([1, 3, 4]),
        },
        this.ledger,
      );
      client.ackMsMax = dice.pick([0, 5, 60]);
      client.onGranted = (interest) => this.onGranted(client.sessionNode(), interest);
      // QoS 0 is not waited for.
      if (this.nodes.length > 1) client.delayMsMax = wayMsMax + (this.mix.cuts > 0 ? cutMsMax : 0);
      if (this.mix.roams) this.letRoam(client);
      if (adopts) {
        client.onTaken = (sent) => this.checkOwner(client, sent);
        // Who has been told of a subscription is looked at when it counts: an adopter may be gone again before the next step.
        client.onSend = () => this.noteOwners();
      }
      this.clients.push(client);
    }
  }

  /** The client connects to whichever node it likes, while the node of its session can be reached. */
  private letRoam(client: SimClient): void {
    const { clientId } = client;
    let last: SessionNode | null = null;
    client.sessionNode = () => {
      let [node, newest] = [null as SessionNode | null, 0];
      for (const one of this.nodes) {
        if (one.isAdopted) continue;
        const epoch = one.process?.sessions.get(clientId)?.epoch ?? -1;
        if (epoch >= newest) [node, newest] = [one, epoch];
      }
      // One that waits for its node, or for others to adopt it, is where it was.
      if (this.mix.adopts && node !== null) last = node;
      return node ?? last ?? client.node;
    };
    client.chooseNode = () => {
      const listening = this.nodes.filter(({ isListening }) => isListening);
      if (this.mix.adopts) return listening.length === 0 ? null : this.dice.pick(listening);
      // Mostly clients wait until all is well; who does not may get a new session, once.
      const isWell = listening.length === this.nodes.length && this.meetings.areAllUp;
      const mayHurry = listening.length > 0 && client.legacies.length === 0;
      if (!isWell && (!mayHurry || !this.dice.chance(this.mix.haste))) return null;
      return this.dice.pick(listening);
    };
    if (this.mix.cutOffs > 0) client.delayMsMax += cutOffMsMax;
    if (this.mix.adopts) return;
    client.mayBeWithoutOwner = (sinceMs) => wereApart(this.nodes, sinceMs, this.world.nowMs);
    client.lossOf = (node) => lossOf(node, this.nodes);
  }

  /** Who delivers has the session, and not another node that has adopted it. */
  private checkOwner(client: SimClient, sent: Sent): void {
    this.noteOwners();
    const { clientId, node } = client;
    const here = node.process?.sessions.get(clientId);
    const owner = this.owners.get(clientId);
    if (here === undefined || here.journal === null || owner === undefined) return;
    // An older one without its client delivers nothing: what came is from the younger, elsewhere.
    if (here.channel === null) return;
    if (owner.node === node || this.world.nowMs - owner.sinceMs < noticedMs) return;
    const there = owner.node.process?.sessions.get(clientId);
    if (there === undefined || there.epoch <= here.epoch) return;
    client.fault(`got ${inWords(sent)} at ${node.name}, and its session is at ${owner.node.name}`);
  }

  private noteOwners(): void {
    for (const client of this.clients) {
      const { clientId } = client;
      const node = client.sessionNode();
      const before = this.owners.get(clientId)?.node;
      if (before === node) continue;
      this.owners.set(clientId, { node, sinceMs: this.world.nowMs });
      if (this.mix.adopts && before !== undefined) this.forgetRows(client, node);
    }
  }

  /** Its session is at another node: whoever does not hear that one has to learn its rows from there. */
  private forgetRows({ interests }: SimClient, owner: SessionNode): void {
    const away = this.nodes.filter((node) => !this.meetings.areUp(owner, node));
    for (const { knownMs, metMs } of interests) {
      for (const { name } of away) {
        knownMs.delete(name);
        metMs.delete(name);
      }
    }
  }

  /** SUBACK says that all nodes know that are up, unless some were late. */
  private onGranted(at: SessionNode, { knownMs, askedMs, grantedMs }: Interest): void {
    knownMs.set(at.name, grantedMs);
    if (grantedMs - askedMs > lateMs) return;
    for (const other of this.nodes)
      if (this.meetings.areUp(at, other)) knownMs.set(other.name, grantedMs);
  }

  /** What is known of nodes and messages goes on with time. */
  private noteProgress(): void {
    this.noteOwners();
    this.meetings.note();
  }

  private async step(): Promise<void> {
    const { mix, dice } = this;
    const actions: [number, () => void | Promise<void>][] = [
      [6, () => this.publish()],
      [1 + mix.subscriptions, () => this.subscribe()],
      [mix.subscriptions / 3, () => this.unsubscribe()],
      [mix.breaks, () => this.comeOrGo()],
      [mix.takeovers, () => this.takeOver()],
      [mix.ends, () => this.endSession()],
      [mix.crashes, () => this.crashOrStart()],
      [mix.stalls, () => this.stallOrRecover()],
      [mix.cuts, () => this.breakLink()],
      [mix.cutOffs, () => this.cutOffOrMend()],
      [this.cutOff === null ? 0 : 4, () => this.publishAt(this.cutOff?.node)],
      [0.5, () => this.changePace()],
    ];
    let at = dice.between(
      0,
      actions.reduce((sum, [weight]) => sum + weight, 0),
    );
    for (const [weight, act] of actions) {
      at -= weight;
      if (at > 0) continue;
      await act();
      return;
    }
  }

  private aClient(): SimClient {
    return this.dice.pick(this.clients);
  }

  private publish(): void {
    const { dice } = this;
    const client = this.aClient();
    const burst = dice.chance(0.3) ? 12 : 1 + dice.integer(3);
    const topic = dice.pick(topics);
    const qos = dice.pick([0, 1, 1, 2, 2] as const);
    for (let i = 0; i < burst; i++) client.publish(topic, qos);
  }

  /** All clients that are connected there. */
  private publishAt(node: SessionNode | undefined, qos = this.dice.pick([0, 1, 2] as const)): void {
    const own = this.clients.filter((client) => client.node === node && client.state === "online");
    for (const client of own) client.publish(this.dice.pick(topics), qos);
  }

  private subscribe(): void {
    const { dice } = this;
    const client = this.aClient();
    // The first clients are members of a group, and nothing else.
    const isMember = this.clients.indexOf(client) < 2;
    const filter = dice.pick(isMember ? shareFilters : filters);
    client.subscribe(filter, dice.pick([0, 1, 1, 2, 2] as Qos[]));
  }

  private unsubscribe(): void {
    const client = this.aClient();
    if (client.interests.length > 0) client.unsubscribe(this.dice.pick(client.interests).filter);
  }

  private comeOrGo(): void {
    const client = this.aClient();
    client.staysOnline = this.dice.chance(0.6);
    if (client.state === "offline") client.connect();
    else if (this.dice.chance(0.3)) client.disconnect(false);
    else client.drop();
  }

  private takeOver(): void {
    this.aClient().connect();
  }

  /** With Clean Start, at a DISCONNECT, or by an operator. */
  private endSession(): void {
    const { dice } = this;
    const client = this.aClient();
    const how = dice.integer(3);
    if (how === 0) client.connect(true);
    else if (how === 1) client.disconnect(true);
    else {
      const { process } = client.sessionNode();
      // What its CONNACK says may be older.
      if (process === null || client.state === "greeting") return;
      // One that is being moved stays.
      if (process.sessions.moves?.has(client.clientId)) return;
      // A node that has not loaded it yet says so.
      if (!process.sessions.delete(client.clientId)) return;
      client.doubtSession();
      this.world.trace.note(`${client.clientId} is deleted`);
    }
  }

  private async crashOrStart(): Promise<void> {
    const { dice } = this;
    const stopped = this.nodes.filter(({ process }) => process === null);
    if (stopped.length > 0 && dice.chance(0.7)) {
      const node = dice.pick(stopped);
      node.store.failing = null;
      this.heal();
      void node.boot();
      return;
    }
    const node = dice.pick(this.nodes);
    if (node.process === null) return;
    // One at a time, where sessions may be lost with their nodes: what two of them lose is in no order.
    if (this.mix.haste > 0 && (!this.meetings.areAllUp || this.hasTwoSessions)) return;
    if (dice.chance(0.7)) await this.publishBefore(node);
    this.lastCrashMs = this.world.nowMs;
    const isSilent = this.mix.adopts && dice.chance(0.4);
    if (isSilent) this.isolate(node);
    node.crash();
    // Mostly it is back soon, and dies again some time.
    if (dice.chance(this.mix.adopts ? 0.2 : 0.6)) {
      node.store.failing = null;
      // Its next process begins where the machine is, and lets clients in there.
      if (isSilent) node.noteCutOff();
      void node.boot();
    }
  }

  private get hasTwoSessions(): boolean {
    for (const _fault of ownerFaults(this.clients, this.nodes)) return true;
    return false;
  }

  /** Its machine goes with it: nobody is told that nobody listens there. */
  private isolate(node: SessionNode): void {
    for (const other of this.nodes) {
      if (other !== node) this.world.cutLink(node.place, other.place);
    }
  }

  /** A node that lives reaches nobody, or not the store, or neither: others may take what it has. */
  private cutOffOrMend(): void {
    const { dice, cutOff } = this;
    if (cutOff !== null && dice.chance(0.3)) this.mendCutOff();
    const node = dice.pick(this.nodes);
    if (this.cutOff !== null || !node.isListening) return;
    const from = dice.pick(["nodes", "store", "both", "both", "both"] as const);
    const life = node.process?.life ?? null;
    this.cutOff = { node, life, isAlone: from !== "store" };
    if (from !== "store") {
      this.isolate(node);
      node.noteCutOff();
    }
    if (from !== "nodes") node.setInReach(false);
    this.life.clock.setTimer(dice.between(1_000, cutOffMsMax), () => {
      if (this.cutOff?.life === life) this.mendCutOff();
    });
  }

  /** All reach each other again, but for the one that is cut off. */
  private heal(): void {
    this.world.heal();
    const away = this.cutOff?.isAlone ? this.cutOff.node : null;
    if (away !== null) this.isolate(away);
    for (const node of this.nodes) if (node !== away) node.endCutOffs();
  }

  private mendCutOff(): void {
    const { cutOff } = this;
    this.cutOff = null;
    if (cutOff === null) return;
    cutOff.node.setInReach(true);
    this.heal();
  }

  /** A node that dies is in the midst of something. */
  private async publishBefore(node: SessionNode): Promise<void> {
    const { dice } = this;
    this.publishAt(node, dice.pick([1, 2] as const));
    await this.world.run(dice.between(0, dice.chance(0.5) ? 6 : 40));
  }

  /** A link closes and comes back, or nothing passes for less time than it takes to be declared down. */
  private breakLink(): void {
    const { dice, world } = this;
    const [one, other] = [dice.pick(this.nodes), dice.pick(this.nodes)];
    if (one === other) return;
    if (dice.chance(0.5)) {
      one.process?.cluster.peer(other.name)?.drop();
      return;
    }
    world.cutLink(one.place, other.place);
    this.life.clock.setTimer(dice.between(10, cutMsMax), () => this.heal());
  }

  private stallOrRecover(): void {
    const { dice } = this;
    const { store, name, isListening } = dice.pick(this.nodes);
    if (!isListening) return;
    store.failing = store.failing !== null ? null : dice.pick(["full", "unavailable"] as const);
    this.world.trace.note(`the store of ${name}: ${store.failing ?? "well"}`);
  }

  private changePace(): void {
    this.aClient().ackMsMax = this.dice.pick([0, 5, 60, 600]);
  }

  private async startAll(): Promise<void> {
    this.mendCutOff();
    this.heal();
    for (const node of this.nodes) {
      node.store.failing = null;
      if (node.process === null) void node.boot();
    }
    const listening = (): boolean => this.nodes.every(({ isListening }) => isListening);
    await this.world.until(listening, 30_000, "all nodes listen");
  }

  /** Everything is well again, everybody is online, and time goes by until nobody has anything to say. */
  /** `closedMs`: since then all connections have ended, which their clients may not have seen yet. */
  private async calmDown(closedMs = Number.NEGATIVE_INFINITY): Promise<void> {
    const { world, clients } = this;
    const isAware = ({ lastClosedMs }: SimClient): boolean => lastClosedMs >= closedMs;
    await this.startAll();
    // A start that waited for those who adopted was long quiet for everybody else.
    if (this.mix.adopts) await world.run(quietMs);
    for (const client of clients) {
      client.staysOnline = true;
      client.ackMsMax = 5;
      if (client.state === "offline") client.connect();
    }
    if (this.mix.roams && !this.mix.adopts) {
      await world.until(() => this.meetings.areAllUp, 30_000, "all nodes are up");
      const seen = (): string => [...ownerFaults(clients, this.nodes)].join();
      await world.until(() => !this.hasTwoSessions, oneSessionMs, seen);
    }
    const isQuiet = (): boolean =>
      clients.every(
        (one) => isAware(one) && one.isSettled && one.lastActiveMs < world.nowMs - quietMs,
      );
    await world.until(isQuiet, 60_000, () =>
      clients
        .filter((one) => !isAware(one) || !one.isSettled)
        .map((one) => one.waiting)
        .join("\n"),
    );
  }
}
