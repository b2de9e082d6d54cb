/**
 * One node: builds every part, starts them in order and stops them in reverse. MQTT clients are let in
 * only when the node has met the members that it knew, so that nothing is acknowledged into the void.
 */
import { join } from "node:path";
import { z } from "zod";
import { type CtlServer, openCtl } from "./admin/ctl-server.js";
import type { AdminServer } from "./admin/http/server.js";
import { aclControl } from "./admin/node/acl-control.js";
import { banControl } from "./admin/node/ban-control.js";
import { clusterControl } from "./admin/node/cluster-control.js";
import { Drain } from "./admin/node/drain-control.js";
import { explainer } from "./admin/node/explainer.js";
import { outboxControl } from "./admin/node/outbox-control.js";
import { lostAlarms, offerWaiting, waitingFor } from "./admin/node/outbox-questions.js";
import { presenceControl, serveEvents } from "./admin/node/presence-control.js";
import { publisher, retainedControl, routeControl } from "./admin/node/routing-control.js";
import { nodeMetrics } from "./admin/node/sources.js";
import {
  clientControl,
  sessionControl,
  subscriptionControl,
} from "./admin/node/session-control.js";
import { storeControl } from "./admin/node/store-control.js";
import type { ListenerInfo, Parts, StartReport } from "./admin/parts.js";
import { Acl } from "./auth/acl/acl.js";
import { Bans } from "./auth/bans/bans.js";
import type { ScryptCost } from "./auth/password-hash.js";
import { UsersFile } from "./auth/users-file.js";
import { Cluster } from "./cluster/cluster.js";
import { clusterSettings } from "./cluster/settings.js";
import { Discovery, openStrategies } from "./cluster/discovery/index.js";
import { Joiner } from "./cluster/joiner.js";
import { clusterLease } from "./cluster/lease.js";
import type { ClusterState } from "./cluster/member-list.js";
import { parseNodeName } from "./cluster/names.js";
import { tcpTransport } from "./cluster/tcp.js";
import { memberSchema } from "./cluster/wire/messages.js";
import { fileDescriptorLimit } from "./config/file-descriptors.js";
import type { Config } from "./config/schema.js";
import { LoopDelay, realClock, sleep } from "./lib/clock.js";
import { collectGarbage } from "./lib/garbage.js";
import type { Log, LogLevel } from "./lib/log.js";
import { realRandom } from "./lib/random.js";
import { Refusal } from "./lib/refusal.js";
import { Service } from "./lib/service.js";
import { TimerWheel } from "./lib/timer-wheel.js";
import { FrontEnd } from "./net/front-end.js";
import type { RetainedLimits } from "./routing/retained.js";
import { Router } from "./routing/router.js";
import { ClientEvents } from "./session/client-events.js";
import { openStreams } from "./session/start.js";
import { TopicTable } from "./routing/topic.js";
import { serveWills, willNetwork } from "./session/will-network.js";
import { Adopter } from "./store/adoption.js";
import { type DirectoryLock, lockDirectory } from "./store/directory-lock.js";
import type { Lease } from "./store/lease.js";
import { NodeStore } from "./store/node-store.js";
import { DiskStateFile } from "./store/state-file.js";
import type { LeaseTimes } from "./store/shared.js";
import type { StoreFailure } from "./store/store.js";

export interface BrokerOptions {
  readonly config: Config;
  /** The secret that all nodes of the cluster share. */
  readonly cookie: string;
  readonly log: Log;
  readonly version: string;
  /**
   * Nodes that are started together with this one: clients are let in when it is linked with them, or they have
   * taken too long.
   */
  readonly siblings?: readonly string[];
  /** Which port of `cluster.port_range` to try first, as a distance from its first. */
  readonly linkPortPreferred?: number;
}

/** A node that runs. */
export interface Broker {
  readonly parts: Parts;
  readonly report: StartReport;
  /** Reads the files again that may change while it runs; what is not usable is logged and stays as it was. */
  reload(): Promise<void>;
  /** Begins an orderly stop; resolves when it is over. May be called again. */
  stop(): Promise<void>;
  /** Resolves when the node has stopped, whoever stopped it. */
  readonly stopped: Promise<void>;
}

const stateSchema = z.object({
  id: memberSchema.shape.id,
  incarnation: z.number(),
  members: z.array(memberSchema),
  leftStamp: z.number(),
});

/** File descriptors that a node keeps for itself: links, store, log, control socket. */
const ownDescriptors = 64;
const retainedSweepMs = 1000;
/** How long a stop waits for the acceptance of wills; what is not accepted then is published again at the next start. */
const willsMs = 1000;
/** How long leaving service may take when the store is broken. */
const failMs = 1000;
/** How long nodes that are started together wait for each other; several have to join one after the other. */
const siblingsMs = 15_000;
/** So many sessions and retained messages, taken up at start, leave garbage that is worth a pause. */
const manyStored = 10_000;

/** Starts a node. Rejects with a Refusal when something it needs cannot be had; nothing is left behind. */
export async function startBroker(options: BrokerOptions): Promise<Broker> {
  const { config, log } = options;
  parseNodeName(config.node.name);
  const lock = await lockDirectory(config.node.data_dir, realRandom);
  let node: Node | null = null;
  try {
    const kept = await NodeStore.open({
      ...{ config, log, clock: realClock, random: realRandom },
      onBroken: (failure) => node?.onBroken(failure),
    });
    node = new Node(options, lock, kept);
    await node.start();
    return node;
  } catch (error) {
    if (node === null) await lock.release();
    else await node.stop();
    throw error instanceof Error && !("code" in error) ? error : new Refusal(startFailure(error));
  }
}

function startFailure(error: unknown): string {
  return `the node cannot start: ${error instanceof Error ? error.message : String(error)}`;
}

class Node implements Broker {
  readonly parts: Parts;
  readonly stopped: Promise<void>;
  private readonly clock = realClock;
  private readonly random = realRandom;
  private readonly wheel = new TimerWheel(realClock);
  /** Whether clients are served; whoever takes the node out of service sets a reason here. */
  readonly service = new Service(realClock);
  readonly loopDelay = new LoopDelay(realClock);
  readonly cluster: Cluster;
  readonly router: Router;
  readonly users: UsersFile;
  readonly acl: Acl;
  readonly bans: Bans;
  readonly frontEnd: FrontEnd;
  readonly events: ClientEvents;
  /** Null, both: no other node reaches what is stored. */
  readonly lease: Lease | null;
  readonly adopter: Adopter | null;
  private readonly joiner: Joiner;
  private readonly drain: Drain;
  private readonly discovery: Discovery;
  private readonly startedMs = realClock.wallMs();
  private ctl: CtlServer | null = null;
  admin: AdminServer | null = null;
  private stopping: Promise<void> | null = null;
  private onStopped: () => void = () => undefined;
  private onFailed: (why: Error) => void = () => undefined;

  constructor(
    private readonly options: BrokerOptions,
    private readonly lock: DirectoryLock,
    /** Null: nothing but the members and users outlives this process. */
    readonly kept: NodeStore | null,
  ) {
    const { config, cookie, log } = options;
    const { clock, random, wheel } = this;
    const { name } = config.node;
    const commits = kept?.commits ?? null;
    this.service.set("starting", "this node is starting: clients are not let in yet");
    this.stopped = new Promise((resolve, reject) => {
      this.onStopped = resolve;
      this.onFailed = reject;
    });
    // Whoever runs the node hears of it; one that never came to run is nobody's.
    this.stopped.catch(() => undefined);
    this.cluster = new Cluster({
      ...{ name, cookie, clock, random, log },
      settings: clusterSettings(config),
      transport: tcpTransport(clock, log, options.linkPortPreferred),
      stateFile: new DiskStateFile(join(config.node.data_dir, "cluster.state"), parseState),
      durable: kept,
    });
    const shared = { strategy: config.shared.strategy, random };
    const limits = retainedLimits(config);
    this.router = new Router(this.cluster, limits, clock, shared, new TopicTable(), commits);
    const { users_file: path, iterations } = config.auth;
    const scrypt = scryptCost(config);
    this.users = new UsersFile({ path, iterations, scrypt, clock, random, log });
    this.acl = new Acl(config.auth, log);
    this.bans = new Bans(clock, this.cluster.common);
    this.events = this.clientEvents();
    const { cluster, router } = this;
    this.adopter = adopterOf(options, kept);
    this.frontEnd = new FrontEnd({
      ...{ events: this.events, authorizer: this.acl, bans: this.bans, users: this.users },
      ...{ config, clock, wheel, random, log, router, cluster },
      directory: cluster.directory,
      willNetwork: willNetwork(cluster, clock),
      moving: { cluster, clock, log },
      adopting: this.adopter && { cluster, router, shared: this.adopter, clock, log },
      connectionsMax: connectionsMax(config),
      journals:
        kept === null
          ? null
          : {
              ...{ store: kept.store, commits: kept.commits, clock, log },
              incarnation: () => cluster.members.incarnation,
            },
    });
    cluster.attach({
      user: router,
      host: this.frontEnd.sessions.places,
      load: () => this.load(),
    });
    serveWills(this.cluster, this.frontEnd.sessions.wills.holders);
    this.lease = this.nodeLease();
    if (kept !== null) kept.onStall = (stalled) => this.frontEnd.stallWatch.setStalled(stalled);
    offerWaiting(this.cluster);
    this.joiner = new Joiner(this.cluster);
    const { frontEnd, service } = this;
    this.drain = new Drain({ cluster, frontEnd, service, config, clock, log });
    this.discovery = new Discovery({
      ...{ clock, random, log, strategies: openStrategies(config.cluster.discovery) },
      self: () => ({ name, host: parseNodeName(name).host, port: this.cluster.acceptor.port }),
      onFound: (found) => this.onFound(found),
    });
    this.parts = this.buildParts();
  }

  private nodeLease(): Lease | null {
    const { cluster, clock, kept, frontEnd } = this;
    const { config, log } = this.options;
    if (kept === null || kept.leases === null) return null;
    const { start_timeout: startTimeoutMs } = config.store.redis;
    const lease = clusterLease(cluster, {
      ...{ book: kept.leases, clock, log, startTimeoutMs, times: leaseTimes(config) },
      onSuspended: (why) => {
        kept.commits.suspend(why);
        frontEnd.silenceStored(why !== null);
      },
      onEnded: (why) => this.leaveForGood(why),
    });
    frontEnd.beforeFlush = () => void lease.look();
    return lease;
  }

  private clientEvents(): ClientEvents {
    const { cluster, router, clock } = this;
    const events = new ClientEvents({
      ...{ cluster, router, clock, settings: this.options.config.presence },
      incarnation: () => cluster.members.incarnation,
      clients: () => this.frontEnd.clients(),
    });
    serveEvents(events, cluster, router);
    return events;
  }

  get report(): StartReport {
    const { cluster } = this;
    return {
      name: cluster.name,
      listeners: this.frontEnd.listeners(),
      linkPort: cluster.acceptor.port,
      members: cluster.liveMembers().sort(),
    };
  }

  /**
   * Order: users and rules, the lease, what is stored (of peers in `cluster.start`), links, members, clients, control socket.
   * Nobody is let in, and nobody links, before all is there that was acknowledged.
   */
  async start(): Promise<void> {
    const { config, log } = this.options;
    await this.openAdmin();
    await this.users.open();
    await this.acl.open();
    if (this.lease !== null) await this.takeLease(this.lease);
    if (this.kept !== null) await this.loadStored(this.kept);
    this.cluster.holdsStream = () => true;
    await this.cluster.start();
    this.discovery.start();
    await this.cluster.settled(config.start.sync_timeout);
    await this.metSiblings();
    await this.frontEnd.sessions.publishRecovered();
    void openStreams(this.cluster, this.frontEnd.sessions);
    await this.kept?.store.rest?.();
    this.dropGarbageOfStart();
    await this.frontEnd.start();
    const { run_dir: runDir, name } = config.node;
    this.ctl = await openCtl({ runDir, name, parts: this.parts, log });
    this.sweepRetained();
    this.loopDelay.start();
    this.service.clear("starting");
  }

  /** First of all: who asks is told that the node is starting, however long that takes. */
  private async openAdmin(): Promise<void> {
    const { config, log, version } = this.options;
    if (!config.admin.enabled) return;
    // A node that does not offer it does without the code of an HTTP server.
    const { openAdmin } = await import("./admin/http/server.js");
    this.admin = await openAdmin({
      ...{ settings: config.admin, node: config.node.name, version, service: this.service, log },
      alarms: () => this.alarms(),
      metrics: () => nodeMetrics(this),
    });
  }

  private alarms(): string[] {
    const store = this.kept?.alarm ?? null;
    return [...(store === null ? [] : [store]), ...lostAlarms(this.cluster)];
  }

  /** Nothing of what is stored is read before it is this node's. */
  private async takeLease(lease: Lease): Promise<void> {
    const { members } = this.cluster;
    await members.load();
    await members.store();
    await lease.take();
  }

  private async loadStored({ store }: NodeStore): Promise<void> {
    const { clock, router } = this;
    const { log } = this.options;
    const beganMs = clock.monotonicMs();
    await router.load(store);
    await this.loadSessions();
    const tookMs = Math.round(clock.monotonicMs() - beganMs);
    const { size: messages, tombstoneCount: deleted } = router.retained;
    if (messages + deleted > 0)
      log.info({ messages, deleted, tookMs }, "retained messages are loaded");
  }

  /** What was read of a full store is garbage by now, and an idle node would keep it for ever. */
  private dropGarbageOfStart(): void {
    const { retained } = this.router;
    if (this.frontEnd.sessions.size + retained.size >= manyStored) collectGarbage();
  }

  private async loadSessions(): Promise<void> {
    const { clock, frontEnd } = this;
    const { log } = this.options;
    const beganMs = clock.monotonicMs();
    const loaded = await frontEnd.sessions.load((soFar) => {
      log.info({ sessions: soFar.sessions, messages: soFar.messages }, "loading sessions");
    });
    this.cluster.observeStamp(loaded.highestEpoch);
    const { sessions, messages } = loaded;
    const tookMs = Math.round(clock.monotonicMs() - beganMs);
    if (sessions > 0) log.info({ sessions, messages, tookMs }, "sessions are loaded");
  }

  /** Nothing can be stored any more: out of service, without another word that somebody could rely on. */
  onBroken({ why }: StoreFailure): void {
    this.leaveForGood(`the store is broken: ${why}`);
  }

  private leaveForGood(why: string): void {
    const failure = new Error(why);
    this.service.set("broken", why);
    if (this.lease !== null) this.beSilent(this.lease);
    const ended = this.leaveService().catch(() => undefined);
    const late = sleep(this.clock, failMs);
    void Promise.race([ended, late]).then(() => this.onFailed(failure));
  }

  /** What is stored is another's by now, or may be: what clients and peers are told is that this node is gone, no more. */
  private beSilent(lease: Lease): void {
    lease.close();
    this.frontEnd.silenceAll();
    this.cluster.stop();
    void this.kept?.store.close();
  }

  private async metSiblings(): Promise<void> {
    const { siblings = [], log } = this.options;
    const { cluster } = this;
    const missing = (): string[] => siblings.filter((name) => cluster.state(name) !== "up");
    if (await cluster.when(() => missing().length === 0, siblingsMs)) return;
    log.warn({ missing: missing() }, "not linked with all that were started together; going on");
  }

  async reload(): Promise<void> {
    const { acl, users, frontEnd } = this;
    this.options.log.info({}, "reading users, access rules and certificates again");
    // Both have logged what was wrong.
    await Promise.all([users.look(), acl.hasFile ? acl.reload().catch(() => undefined) : null]);
    if (frontEnd.doors.hasCertificates) frontEnd.doors.reload();
  }

  stop(): Promise<void> {
    this.stopping ??= this.stopInOrder();
    return this.stopping;
  }

  private async stopInOrder(): Promise<void> {
    this.service.set("stopping", "this node is stopping");
    this.discovery.stop();
    await this.frontEnd.stop();
    this.events.stop();
    // What clients left behind, such as their wills, is stored before the links go.
    await this.settleWills();
    await this.closeLinks();
    await this.kept?.close(async () => this.lease?.release());
    this.lease?.close();
    await this.lock.release();
    this.onStopped();
  }

  /** Wills that are due are published, and those who get them have accepted them, or have not for too long. */
  private async settleWills(): Promise<void> {
    const { kept } = this;
    if (kept !== null && kept.commits.stalled !== null) return;
    await kept?.commits.idle();
    await this.frontEnd.sessions.wills.settled(this.clock, willsMs);
    await kept?.commits.idle();
  }

  private async leaveService(): Promise<void> {
    this.discovery.stop();
    await this.frontEnd.stop();
    await this.closeLinks();
  }

  private async closeLinks(): Promise<void> {
    this.users.close();
    this.cluster.stop();
    this.wheel.close();
    this.loopDelay.stop();
    await this.ctl?.close();
    await this.admin?.close();
  }

  private load(): { connections: number; sessions: number } {
    return { connections: this.frontEnd.connected, sessions: this.frontEnd.sessions.size };
  }

  private onFound(found: Parameters<Joiner["joinFound"]>[0]): void {
    const { log } = this.options;
    this.joiner.joinFound(found).then(
      (joined) => {
        if (joined) log.info({ ...found }, "joined a node that discovery found");
      },
      (error: unknown) => {
        const why = error instanceof Error ? error.message : String(error);
        log.warn({ ...found, why }, "a node that discovery found cannot be joined");
      },
    );
  }

  /** A bounded piece of work each time. */
  private sweepRetained(): void {
    this.clock.setTimer(retainedSweepMs, () => {
      this.router.retained.sweep(this.clock.wallMs());
      this.router.retained.sweepExpired();
      this.sweepRetained();
    });
  }

  private buildParts(): Parts {
    const { cluster, joiner, router, frontEnd, startedMs } = this;
    const { sessions } = frontEnd;
    const { version, log } = this.options;
    return {
      cluster: clusterControl({
        ...{ cluster, joiner, version, startedMs },
        load: () => this.load(),
        alarms: () => this.alarms(),
        adoption: (node) => sessions.adoptions?.progressOf(node) ?? null,
        discardData: () => this.discardData(),
        beforeLeave: () => this.drain.leave(),
        afterLeave: () => this.drain.left(),
      }),
      holdings: {
        local: () => this.holdings(),
        waitingFor: (node) => waitingFor(cluster, node),
      },
      clock: this.clock,
      clients: clientControl(sessions),
      sessions: sessionControl(sessions),
      drain: this.drain,
      subscriptions: subscriptionControl(sessions),
      routes: routeControl(router, cluster),
      explainer: explainer(router, cluster, sessions),
      retained: retainedControl(router),
      publisher: publisher(router),
      outbox: outboxControl(cluster, router, this.clock),
      presence: presenceControl(cluster, router, sessions),
      users: this.users,
      acl: aclControl(this.acl, sessions),
      bans: banControl(this.bans, this.kept?.commits ?? null),
      store: storeControl({ kept: this.kept, config: this.options.config, clock: this.clock }),
      log: {
        level: () => log.level,
        setLevel: (level) => {
          // The command has checked that it is one of them.
          log.level = level as LogLevel;
        },
      },
      listeners: () => this.listeners(),
      reloadCertificates: () => frontEnd.doors.reload(),
      metrics: () => nodeMetrics(this),
      report: () => this.report,
      stop: () => void this.stop(),
    };
  }

  private listeners(): ListenerInfo[] {
    const { bind } = this.options.config.cluster;
    const connections = this.cluster.peers().filter(({ link }) => link !== null).length;
    const { port } = this.cluster.acceptor;
    return [
      ...this.frontEnd.listeners(),
      { name: "link", kind: "link", address: bind, port, connections },
      ...this.adminInfo(),
    ];
  }

  private adminInfo(): ListenerInfo[] {
    if (this.admin === null) return [];
    const { address, port, connections } = this.admin;
    return [{ name: "admin", kind: "http", address, port, connections }];
  }

  private holdings(): { sessions: number; queued: number; retained: number } {
    let count = 0;
    let queued = 0;
    for (const session of this.frontEnd.sessions.all()) {
      if (session.persistent) count++;
      queued += session.queued;
    }
    return { sessions: count, queued, retained: this.router.retained.size };
  }

  private discardData(): void {
    const { sessions } = this.frontEnd;
    for (const { clientId } of [...sessions.all()]) sessions.delete(clientId);
    this.router.retained.clear();
    this.cluster.common.clear();
  }
}

/** @throws ZodError when it is no state of a cluster */
const parseState = (parsed: unknown): ClusterState => stateSchema.parse(parsed);

function connectionsMax(config: Config): number {
  if (config.limits.connections > 0) return config.limits.connections;
  const descriptors = fileDescriptorLimit();
  return descriptors === undefined ? Number.POSITIVE_INFINITY : descriptors - ownDescriptors;
}

function scryptCost({ auth }: Config): ScryptCost {
  const { cost_exponent: costExponent, block_size: blockSize, parallelism } = auth.scrypt;
  return { costExponent, blockSize, parallelism };
}

function adopterOf({ config, log }: BrokerOptions, kept: NodeStore | null): Adopter | null {
  const book = kept?.leases ?? null;
  const { name: self } = config.node;
  return book && new Adopter({ self, book, times: leaseTimes(config), clock: realClock, log });
}

function leaseTimes({ store }: Config): LeaseTimes {
  return { intervalMs: store.redis.lease_interval, leaseMs: store.redis.lease_time };
}

function retainedLimits(config: Config): RetainedLimits {
  const { retained_messages: messages, retained_bytes: bytes, retained_ttl: ttlMs } = config.limits;
  return { messages, bytes, ttlMs, forgetAfterMs: config.cluster.forget_after };
}
