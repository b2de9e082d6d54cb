/** The book of leases in Redis: each node's lease is a key beside its partitions, changed by one script. */
import { GatheringStore } from "../gathering-store.js";
import {
  adoptedSentence,
  type Holder,
  type LeaseBook,
  type RenewAnswer,
  type TakeAnswer,
} from "../shared.js";
import type { Store } from "../store.js";
import type { Exchange } from "./exchange.js";
import { KeySpace } from "./keys.js";
import { RedisStore } from "./redis-store.js";
import { leaseScript } from "./scripts.js";

export interface RedisLeasesOptions {
  readonly exchange: Exchange;
  readonly prefix: string;
  readonly leaseMs: number;
}

const twoProcesses =
  "another process uses the same Redis with the same node.name and store.redis.prefix: " +
  "stop one of the two, or give it another name or prefix";

export class RedisLeases implements LeaseBook {
  /** The node's own store: its writes go before those of everybody who adopted before. */
  own: RedisStore | null = null;
  private holder: Holder | null = null;

  constructor(private readonly options: RedisLeasesOptions) {}

  async take(holder: Holder, insists: boolean): Promise<TakeAnswer> {
    const reply = await this.run("take", holder, "", insists);
    if (Array.isArray(reply)) return { kind: "adopting", by: reply.map(String) };
    if (this.own !== null) this.own.generation = Number(reply);
    this.holder = holder;
    return { kind: "held" };
  }

  async renew(holder: Holder): Promise<RenewAnswer> {
    const reply = Number(await this.run("renew", holder, "", false));
    if (reply === 1) return "held";
    return reply === 0 ? "replaced" : "adopted";
  }

  async release(holder: Holder): Promise<void> {
    await this.run("release", holder, "", false);
  }

  async takePlace(of: Holder, adopter: string, certainlyDead: boolean): Promise<number> {
    return Number(await this.run("place", of, adopter, certainlyDead));
  }

  async renewPlace(of: Holder, adopter: string): Promise<boolean> {
    return Number(await this.run("keep", of, adopter, false)) === 1;
  }

  async giveBack(of: Holder, adopter: string): Promise<void> {
    await this.run("give", of, adopter, false);
  }

  storeOf(node: string, generation: number): Store {
    const { exchange, prefix } = this.options;
    const store = new RedisStore({
      ...{ exchange, generation, keys: new KeySpace(prefix, node), adopts: true },
      whyReplaced: async () => "",
      close: () => undefined,
    });
    return new GatheringStore(store);
  }

  /** Why a later generation has written to this node's partitions. */
  async whyReplaced(): Promise<string> {
    const { holder } = this;
    if (holder === null) return twoProcesses;
    const answer = await this.renew(holder).catch(() => "unknown");
    return answer === "adopted" ? adoptedSentence : twoProcesses;
  }

  private async run(verb: string, of: Holder, adopter: string, flag: boolean): Promise<unknown> {
    const { exchange, prefix, leaseMs } = this.options;
    const keys = new KeySpace(prefix, of.node);
    const numbers = [String(of.incarnation), String(leaseMs)];
    const args = [verb, of.dataId, ...numbers, adopter, flag ? "1" : "0"];
    const call = { bucket: 0, script: leaseScript, keys: [keys.lease, keys.space], args, bytes: 0 };
    const [outcome] = await exchange.call([call], true);
    if (outcome === undefined) throw new Error("Redis gave no answer");
    if (outcome.failure !== null) throw new Error(outcome.failure.why);
    return outcome.reply;
  }
}
