/** A real front end and router on a free port: a node without its cluster. */
import type { TestContext } from "node:test";
import { DirectoryService } from "../../src/cluster/directory.js";
import type { Directory } from "../../src/cluster/directory-types.js";
import type { ClusterPort } from "../../src/cluster/ports.js";
import { type Config, configSchema } from "../../src/config/schema.js";
import { type Clock, realClock } from "../../src/lib/clock.js";
import { HybridClock } from "../../src/lib/hlc.js";
import { silentLog } from "../../src/lib/log.js";
import { realRandom } from "../../src/lib/random.js";
import { TimerWheel } from "../../src/lib/timer-wheel.js";
import { FrontEnd } from "../../src/net/front-end.js";
import { Router } from "../../src/routing/router.js";
import type { FetchSession } from "../../src/session/sessions.js";

export type Settings = {
  readonly limits?: Partial<Config["limits"]>;
  readonly mqtt?: Partial<Config["mqtt"]>;
};

/** The configuration with these settings, on any free port. */
export function testConfig(settings: Settings = {}): Config {
  return configSchema.parse({ ...settings, listeners: { tcp: { port: 0 } } });
}

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
  tell(): void {}
  forwardAccepted(): void {}
}

export interface TestBroker {
  readonly port: number;
  readonly frontEnd: FrontEnd;
  readonly router: Router;
  readonly cluster: LoneCluster;
  stop(): Promise<void>;
}

export interface BrokerOptions {
  readonly settings?: Settings;
  readonly clock?: Clock;
  readonly directory?: Directory;
  readonly fetchSession?: FetchSession;
  readonly connectionsMax?: number;
}

/** Starts one; the caller stops it. */
export async function startBroker(options: BrokerOptions = {}): Promise<TestBroker> {
  const { settings = {}, clock = realClock } = options;
  const config = testConfig(settings);
  const cluster = new LoneCluster();
  const { retained_messages: messages, retained_bytes: bytes } = config.limits;
  const router = new Router(cluster, { messages, bytes, forgetAfterMs: 60_000 });
  const directory = new DirectoryService({
    self: "test@127.0.0.1",
    clock,
    stamps: new HybridClock(clock),
    liveMembers: () => ["test@127.0.0.1"],
    linkTo: () => null,
    takeoverTimeoutMs: config.takeover.timeout,
  });
  const wheel = new TimerWheel(clock);
  const frontEnd = new FrontEnd({
    ...{ config, router, clock, wheel },
    directory: options.directory ?? directory,
    random: realRandom,
    log: silentLog,
    connectionsMax: options.connectionsMax ?? 10_000,
    fetchSession: options.fetchSession ?? ((_clientId, _node, done) => done(null)),
  });
  directory.attachHost(frontEnd.sessions);
  const { port } = await frontEnd.start();
  const stop = async (): Promise<void> => {
    await frontEnd.stop();
    wheel.close();
  };
  return { port, frontEnd, router, cluster, stop };
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
