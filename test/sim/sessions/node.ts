/**
 * A node of a world with everything between a client's bytes and the store: the real connections, sessions,
 * router, cluster and commits. After a crash it starts as a broker does, from what its store holds.
 */
import { Acl } from "../../../src/auth/acl/acl.js";
import { Bans } from "../../../src/auth/bans/bans.js";
import { Authenticator } from "../../../src/auth/authenticator.js";
import { Cluster } from "../../../src/cluster/cluster.js";
import { Joiner } from "../../../src/cluster/joiner.js";
import type { Config } from "../../../src/config/schema.js";
import { Backoff } from "../../../src/lib/backoff.js";
import { silentLog } from "../../../src/lib/log.js";
import { TimerWheel } from "../../../src/lib/timer-wheel.js";
import { Connection } from "../../../src/net/connection.js";
import type { ConnectionShare } from "../../../src/net/connection-share.js";
import { NetCounters } from "../../../src/net/counters.js";
import { FairReads } from "../../../src/net/fair-reads.js";
import { FrameEncoder } from "../../../src/net/frames.js";
import { OutputShare } from "../../../src/net/output.js";
import { type StallSubject, StallWatch } from "../../../src/net/stall-watch.js";
import { Router } from "../../../src/routing/router.js";
import { TopicTable } from "../../../src/routing/topic.js";
import { Sessions } from "../../../src/session/sessions.js";
import { openStreams } from "../../../src/session/start.js";
import { serveWills, willNetwork } from "../../../src/session/will-network.js";
import { Turn } from "../../../src/session/turn.js";
import { Commits } from "../../../src/store/commits.js";
import type { MemoryAccess, SharedMemory } from "../../../src/store/shared-memory.js";
import { nobody, type Settings, testConfig } from "../../support/front-end.js";
import { clusterSettings } from "../cluster-node.js";
import type { FakeStore } from "../world/store.js";
import { adopterOf, leaseOf } from "./shared.js";
import { Touch } from "./touch.js";
import type { Life, WorldNode } from "../world/node.js";
import { PipeSocket } from "../world/pipe-socket.js";
import type { World } from "../world/world.js";

export const mqttPort = 1883;
/** How often a full socket is looked at. */
const drainMs = 5;
const policy = {
  ...{ name: "sim", anonymous: true, closedToStrangers: false },
  ...{ certificateUser: null, mountPoint: "" },
};

/** Everything of one process. */
export interface Process {
  readonly life: Life;
  readonly cluster: Cluster;
  readonly router: Router;
  readonly sessions: Sessions;
  readonly commits: Commits;
  readonly counters: NetCounters;
  /** What it reaches of the store that all share. */
  readonly access: MemoryAccess | null;
}

/** It reached no other node although it lived. */
export interface CutOff {
  readonly fromMs: number;
  /** When it could reach them again. */
  untilMs: number;
  /** When each of them was seen to be linked with it again. */
  readonly metMs: Map<string, number>;
}

/** Others declare a node down that they have not heard for so long, at the earliest. */
const declaredMs = clusterSettings.suspectAfterMs - clusterSettings.heartbeatIntervalMs;

export class SessionNode {
  readonly place: WorldNode;
  /** The process that runs, or null. It may not listen yet. */
  process: Process | null = null;
  /** Every process there ever was. */
  readonly lives: Process[] = [];
  /** What it had to do with the other nodes, and when its processes started and ended. */
  readonly touch: Touch;
  /** When it reached no other node although it lived. */
  readonly cutOffs: CutOff[] = [];
  /** From when to when its processes kept everything from the clients of their stored sessions; infinite: one does still. */
  readonly silences: { readonly fromMs: number; untilMs: number }[] = [];
  isListening = false;
  /** Since when it listens and can store, as far as was looked; infinite: it does not. */
  wellSinceMs = Number.POSITIVE_INFINITY;
  lastCrashMs = Number.NEGATIVE_INFINITY;
  /** Its process is about to die. */
  onCrash: () => void = () => undefined;
  private readonly config: Config;

  constructor(
    readonly world: World,
    readonly name: string,
    private readonly settings: Settings,
    /** What all nodes reach; null: each has a store of its own. */
    private readonly shared: SharedMemory | null = null,
  ) {
    this.place = world.node(name);
    this.touch = new Touch(() => world.nowMs);
    this.config = testConfig(settings);
  }

  get store(): FakeStore {
    return this.place.disk.store;
  }

  get host(): string {
    return this.place.host;
  }

  /** Others adopt its sessions when it is dead. */
  get isAdoptable(): boolean {
    return this.shared !== null;
  }

  /** It lives, and others adopt what it has, or have. */
  get isAdopted(): boolean {
    const { process, shared, name } = this;
    if (process === null || shared === null) return false;
    return shared.space(name).adopted >= process.cluster.members.incarnation;
  }

  /** When it last lost what it had: with its process, or, while that lives on, to those who adopt it. */
  get lastLostMs(): number {
    return this.isAdopted ? this.world.nowMs : this.lastCrashMs;
  }

  /** From now on it reaches no other node while it lives. */
  noteCutOff(): void {
    const { nowMs } = this.world;
    this.cutOffs.push({ fromMs: nowMs, untilMs: Number.POSITIVE_INFINITY, metMs: new Map() });
  }

  endCutOffs(): void {
    for (const one of this.cutOffs) one.untilMs = Math.min(one.untilMs, this.world.nowMs);
  }

  /** Was it cut off from that node in that time for so long that it was declared down, or had not met it again since? */
  wasCutOffFrom(other: string, fromMs: number, untilMs: number): boolean {
    return this.cutOffs.some((one) => {
      // The other one may have been cut off in turn when this one was not any more.
      const metMs = one.metMs.get(other) ?? Number.POSITIVE_INFINITY;
      return one.fromMs < untilMs && metMs > fromMs && metMs - one.fromMs > declaredMs;
    });
  }

  /** It reaches the store that all share. */
  get isInReach(): boolean {
    return this.process?.access?.isReachable ?? true;
  }

  /** Cuts its process off from the store that all share, or mends that. */
  setInReach(isInReach: boolean): void {
    const access = this.process?.access ?? null;
    if (access === null || access.isReachable === isInReach) return;
    this.world.trace.note(`${this.name} ${isInReach ? "reaches" : "does not reach"} the store`);
    access.isReachable = isInReach;
  }

  /** Starts the process; clients are let in when what is stored is loaded and the members have been met. */
  async boot(): Promise<void> {
    const life = this.place.boot();
    this.touch.noteBoot();
    const access = this.shared?.open(this.name) ?? null;
    if (access !== null) this.store.content = access.store;
    const process = this.build(life, access);
    this.process = process;
    this.lives.push(process);
    const { cluster, router, sessions, counters } = process;
    if (access !== null) await this.takeLease(process, access);
    await router.load(life.openStore());
    const loaded = await sessions.load(() => undefined);
    cluster.observeStamp(loaded.highestEpoch);
    cluster.holdsStream = () => true;
    await cluster.start();
    await cluster.settled(5_000);
    await sessions.publishRecovered();
    void openStreams(cluster, sessions);
    await this.listen(process, counters);
  }

  private async takeLease(
    { cluster, life, commits, sessions }: Process,
    access: MemoryAccess,
  ): Promise<void> {
    const { members } = cluster;
    await members.load();
    await members.store();
    const lease = leaseOf(cluster, access, life, {
      onSuspended: (why) => {
        commits.suspend(why);
        this.noteSilence(why !== null);
        for (const { journal, channel } of sessions.all()) {
          if (journal !== null) channel?.silence(why !== null);
        }
      },
      onEnded: (why) => this.end(life, why),
    });
    if (this.share !== null) this.share.output.beforeFlush = () => void lease.look();
    await lease.take();
  }

  private noteSilence(isSilent: boolean): void {
    const { nowMs } = this.world;
    for (const one of this.silences) one.untilMs = Math.min(one.untilMs, nowMs);
    if (isSilent) this.silences.push({ fromMs: nowMs, untilMs: Number.POSITIVE_INFINITY });
  }

  /** Did it keep everything from the clients of its stored sessions at that moment? */
  wasSilent(atMs: number): boolean {
    return this.silences.some(({ fromMs, untilMs }) => fromMs <= atMs && untilMs >= atMs);
  }

  /** What it has is others' by now. Its supervisor starts it again. */
  private end(life: Life, why: string): void {
    if (this.process?.life !== life) return;
    this.world.trace.note(`${this.name} ends: ${why}`);
    this.crash();
    this.store.failing = null;
    void this.boot();
  }

  /** Itself and the nodes that it sees up; none while it does not run. */
  namesUp(): string[] {
    const { process, name } = this;
    if (process === null) return [];
    const up = process.cluster.peers().filter((peer) => process.cluster.state(peer.name) === "up");
    return [name, ...up.map((peer) => peer.name)];
  }

  async join(other: SessionNode): Promise<void> {
    if (this.process === null) return;
    const joined = new Joiner(this.process.cluster).join(other.name);
    await this.world.settled(joined, 30_000, `${this.name} joins ${other.name}`);
  }

  /** kill -9. */
  crash(): void {
    this.onCrash();
    this.place.crash();
    this.process = null;
    this.isListening = false;
    this.wellSinceMs = Number.POSITIVE_INFINITY;
    this.lastCrashMs = this.world.nowMs;
    this.noteSilence(false);
    this.touch.noteCrash();
  }

  /** Has it listened, and been able to store, for so long? */
  wasWell(forMs: number): boolean {
    const { store, isInReach, world, wellSinceMs } = this;
    return store.failing === null && isInReach && world.nowMs - wellSinceMs >= forMs;
  }

  /** To be called every now and then. */
  lookAfter(): void {
    const isWell = this.isListening && this.store.failing === null && this.isInReach;
    if (!isWell) this.wellSinceMs = Number.POSITIVE_INFINITY;
    else this.wellSinceMs = Math.min(this.wellSinceMs, this.world.nowMs);
  }

  private build(life: Life, access: MemoryAccess | null): Process {
    const { clock, random, transport } = life;
    const log = this.touch.watchLog(life.log);
    const store = life.openStore();
    const commits = new Commits({
      ...{ store, clock, intervalMs: 0, slowMs: this.config.store.stall_timeout },
      backoff: new Backoff(random, 50, 500),
      onStalled: (failure) => stallWatch.setStalled(failure !== null),
      onBroken: ({ why }) => {
        if (access === null) throw new Error(why);
        this.end(life, why);
      },
    });
    const { outbox_messages: outboxMessages, outbox_bytes: outboxBytes } = this.config.limits;
    const cluster = new Cluster({
      ...{ name: this.name, clock, random, transport, log },
      settings: { ...clusterSettings, outboxMessages, outboxBytes },
      ...{ cookie: "the cookie of the world", stateFile: life.file("cluster") },
      durable: { store, commits },
    });
    const retained = { messages: 1000, bytes: 1e6, forgetAfterMs: 7 * 86_400_000, ttlMs: 0 };
    const shared = { strategy: "random", random } as const;
    const router = new Router(cluster, retained, clock, shared, new TopicTable(), commits);
    this.touch.watchGroups(router.shared);
    const { config } = this;
    const wheel = new TimerWheel(clock);
    const turn = new Turn(clock);
    const sessions = new Sessions({
      ...{ router, limits: config.limits, wheel, turn, directory: cluster.directory },
      remote: { port: cluster, clock, log, placement: this.config.session },
      authorizer: new Acl(config.auth, silentLog),
      willNetwork: willNetwork(cluster, clock),
      // Nobody waits for that unless it is said.
      willGraceMs: this.settings.drain?.will_grace ?? 0,
      journals: {
        ...{ store, commits, clock, log },
        incarnation: () => cluster.members.incarnation,
      },
      moving: { cluster, clock, log },
      adopting:
        access === null
          ? null
          : { cluster, router, clock, log, shared: adopterOf(this.name, access, life) },
    });
    serveWills(cluster, sessions.wills.holders);
    const counters = new NetCounters();
    const { remote } = sessions;
    const waiters = (): StallSubject[] => [...this.open, ...(remote?.allFar() ?? [])];
    const stallWatch = new StallWatch(clock, config.store.stall_timeout, waiters);
    if (remote !== null) remote.withheld = () => stallWatch.noteWithheld();
    cluster.attach({
      ...{ user: router, host: sessions.places },
      load: () => ({ connections: 0, sessions: sessions.size }),
    });
    this.open.clear();
    const frames = new FrameEncoder();
    const bytesMax = config.limits.connection_output_bytes;
    this.share = {
      ...{ config, router, clock, wheel, turn, log: silentLog, random, sessions, counters, frames },
      ...{ mount: null, events: null, fairReads: new FairReads() },
      output: new OutputShare(clock, counters, bytesMax, () => frames.forget()),
      authenticator: new Authenticator({
        ...{ settings: config.auth, users: nobody, random, clock, log: silentLog },
      }),
      bans: new Bans(clock, cluster.common),
      onGone: (connection) => this.open.delete(connection),
      onWithheld: () => stallWatch.noteWithheld(),
    };
    return { life, cluster, router, sessions, commits, counters, access };
  }

  private readonly open = new Set<Connection>();
  private share: ConnectionShare | null = null;

  private async listen({ life }: Process, _counters: NetCounters): Promise<void> {
    const { share } = this;
    if (share === null) return;
    await life.transport.listen(life.host, [mqttPort, mqttPort], (pipe) => {
      const later = (look: () => void): void => void life.clock.setTimer(drainMs, look);
      this.open.add(new Connection(new PipeSocket(pipe, later), share, policy, "sim:1"));
    });
    this.isListening = true;
  }
}
