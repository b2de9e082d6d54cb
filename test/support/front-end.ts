/** A real front end and router on a free port: a node without its cluster. */
import type { TestContext } from "node:test";
import { Acl, type Authorizer } from "../../src/auth/acl/acl.js";
import { Bans } from "../../src/auth/bans/bans.js";
import { standInVerifier, type Users } from "../../src/auth/users.js";
import { CommonTable } from "../../src/cluster/common-table.js";
import { DirectoryService } from "../../src/cluster/directory.js";
import type { Directory } from "../../src/cluster/directory-types.js";
import type { ClusterPort } from "../../src/cluster/ports.js";
import { type Config, configSchema } from "../../src/config/schema.js";
import { type Clock, realClock } from "../../src/lib/clock.js";
import { HybridClock } from "../../src/lib/hlc.js";
import { type Log, silentLog } from "../../src/lib/log.js";
import { realRandom } from "../../src/lib/random.js";
import { TimerWheel } from "../../src/lib/timer-wheel.js";
import { FrontEnd } from "../../src/net/front-end.js";
import { Router } from "../../src/routing/router.js";
import type { JournalParts } from "../../src/session/host.js";

export type Settings = {
  readonly limits?: Partial<Config["limits"]>;
  readonly mqtt?: Partial<Config["mqtt"]>;
  readonly store?: Partial<Config["store"]>;
  readonly drain?: Partial<Config["drain"]>;
  readonly session?: Partial<Config["session"]>;
  readonly auth?: Partial<Config["auth"]>;
  /** As the file would hold it. */
  readonly listeners?: Readonly<Record<string, unknown>>;
};

/** The configuration with these settings, on any free port; anonymous clients may come unless they say not. */
export function testConfig({ listeners = {}, ...settings }: Settings = {}): Config {
  return configSchema.parse({
    ...settings,
    auth: { anonymous: true, ...settings.auth },
    listeners: { tcp: { port: 0 }, ...listeners },
  });
}

/** No list of users at all. */
export const nobody: Users = {
  kept: false,
  find: () => undefined,
  standIn: (name) => standInVerifier(Buffer.alloc(32), name, 4096),
  work: { scrypt: null, verifierIterations: 0, pbkdf2Iterations: 0 },
  isOutdated: () => false,
  renew: async () => undefined,
};

/** A cluster of one, as routing sees it. `whenSynced` can be held up. */
export class LoneCluster implements ClusterPort {
  /** While set, SUBACKs wait; call them to let go. */
  held: (() => void)[] | null = null;
  private counter = 0;
  private readonly stamps = new HybridClock(realClock);

  nextCounter(): number {
    return ++this.counter;
  }
  nextStamp(): number {
    return this.stamps.next();
  }
  observeStamp(stamp: number): void {
    this.stamps.observe(stamp);
  }
  send(): boolean {
    return false;
  }
  sendNumbered(): boolean {
    return false;
  }
  sendPart(): boolean {
    return false;
  }
  hasRoom(): boolean {
    return true;
  }
  livePeers(): readonly number[] {
    return [];
  }
  setRow(): void {}
  whenSynced(done: () => void): void {
    if (this.held === null) done();
    else this.held.push(done);
  }
  tell(_peer: number, _body: Uint8Array): void {}
  nameOf(): string {
    return "own@h";
  }
  tellBacklog(): number {
    return 0;
  }
  forwardAccepted(): void {}
}

export interface TestBroker {
  readonly port: number;
  readonly frontEnd: FrontEnd;
  readonly router: Router;
  readonly cluster: LoneCluster;
  readonly bans: Bans;
  stop(): Promise<void>;
}

export interface BrokerOptions {
  readonly settings?: Settings;
  readonly clock?: Clock;
  readonly directory?: Directory;
  readonly journals?: JournalParts;
  readonly connectionsMax?: number;
  readonly log?: Log;
  readonly users?: Users;
  readonly authorizer?: Authorizer;
}

/** Starts one; the caller stops it. */
export async function startBroker(options: BrokerOptions = {}): Promise<TestBroker> {
  const { settings = {}, clock = realClock } = options;
  const config = testConfig(settings);
  const cluster = new LoneCluster();
  const { retained_messages: messages, retained_bytes: bytes, retained_ttl: ttlMs } = config.limits;
  const limits = { messages, bytes, ttlMs, forgetAfterMs: 60_000 };
  const commits = options.journals?.commits ?? null;
  const router = new Router(cluster, limits, clock, undefined, undefined, commits);
  const directory = new DirectoryService({
    self: "test@127.0.0.1",
    clock,
    stamps: new HybridClock(clock),
    liveMembers: () => ["test@127.0.0.1"],
    linkTo: () => null,
    takeoverTimeoutMs: config.takeover.timeout,
  });
  const wheel = new TimerWheel(clock);
  const common = new CommonTable({
    ...{ clock, stamps: new HybridClock(clock), forgetAfterMs: 60_000, commits: null },
    peers: () => [],
  });
  const bans = new Bans(clock, common);
  const frontEnd = new FrontEnd({
    ...{ config, router, clock, wheel, bans },
    directory: options.directory ?? directory,
    random: realRandom,
    log: options.log ?? silentLog,
    users: options.users ?? nobody,
    authorizer: options.authorizer ?? new Acl(config.auth, silentLog),
    connectionsMax: options.connectionsMax ?? 10_000,
    journals: options.journals ?? null,
    willNetwork: null,
    cluster: null,
  });
  directory.attachHost(frontEnd.sessions.places);
  const { port } = await frontEnd.start();
  const stop = async (): Promise<void> => {
    await frontEnd.stop();
    wheel.close();
  };
  return { port, frontEnd, router, cluster, bans, stop };
}

/** Starts one for a test; it stops with the test, which fails if a bug was counted. */
export async function testBroker(t: TestContext, options: BrokerOptions = {}): Promise<TestBroker> {
  const broker = await startBroker(options);
  t.after(async () => {
    await broker.stop();
    if (broker.frontEnd.counters.bugs > 0) throw new Error("a bug was counted");
  });
  return broker;
}
