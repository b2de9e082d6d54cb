/**
 * The rules that concern one subject, in their order, and what they said lately about topics. The memory of
 * verdicts is bounded; no rule in a set changes, other rules make another set.
 */
import { type AclAction, covers, type ResolvedRule } from "./rule.js";

/**
 * A topic that is interned: one record is asked about again and again. It keeps what was said last, for each of
 * the two actions, since those who share a topic mostly share their rules.
 */
export interface KnownTopic {
  readonly name: string;
  readonly hash: number;
  /** Who said `mayPublish`, and `mayReceive`; another set has to be asked itself. */
  publishRules: RuleSet | null;
  receiveRules: RuleSet | null;
  mayPublish: boolean;
  mayReceive: boolean;
}

export interface Decision {
  readonly allowed: boolean;
  /** The rule that decided; null: none fits. */
  readonly rule: ResolvedRule | null;
}

const publishBit = 1;
const subscribeBit = 2;
const placesMin = 8;
/** A verdict is at one of so many places from that of its topic's hash on. */
const probesMax = 8;

export class RuleSet {
  private topics: (KnownTopic | undefined)[] = [];
  private verdicts = new Uint8Array(0);
  private taken = 0;

  constructor(
    private readonly rules: readonly ResolvedRule[],
    /** What holds when no rule fits. */
    private readonly allowsRest: boolean,
    readonly grantsFilters: boolean,
    /** Places for verdicts; a power of two. */
    private readonly placesMax: number,
  ) {}

  /** What the rules say about a topic, or about everything that a filter can match. */
  decide(action: AclAction, name: string): Decision {
    const asked = name.split("/");
    for (const rule of this.rules) {
      if (rule.action !== "all" && rule.action !== action) continue;
      if (covers(rule.levels, asked)) return { allowed: rule.allow, rule };
    }
    return { allowed: this.allowsRest, rule: null };
  }

  mayPublish(topic: KnownTopic): boolean {
    if (topic.publishRules === this) return topic.mayPublish;
    topic.mayPublish = this.allows(publishBit, topic);
    topic.publishRules = this;
    return topic.mayPublish;
  }

  mayReceive(topic: KnownTopic): boolean {
    if (topic.receiveRules === this) return topic.mayReceive;
    topic.mayReceive = this.allows(subscribeBit, topic);
    topic.receiveRules = this;
    return topic.mayReceive;
  }

  private allows(bit: number, topic: KnownTopic): boolean {
    const { topics } = this;
    const mask = topics.length - 1;
    for (let i = 0; i < probesMax; i++) {
      const at = (topic.hash + i) & mask;
      const known = topics[at];
      if (known === topic) return ((this.verdicts[at] ?? 0) & bit) !== 0;
      if (known === undefined) break;
    }
    return (this.learn(topic) & bit) !== 0;
  }

  private learn(topic: KnownTopic): number {
    if (this.taken * 2 >= this.topics.length) this.grow();
    const verdict =
      (this.decide("publish", topic.name).allowed ? publishBit : 0) |
      (this.decide("subscribe", topic.name).allowed ? subscribeBit : 0);
    this.put(topic, verdict);
    return verdict;
  }

  /** Where all places are taken, another topic is forgotten. */
  private put(topic: KnownTopic, verdict: number): void {
    const mask = this.topics.length - 1;
    let at = topic.hash & mask;
    for (let i = 0; i < probesMax; i++) {
      const free = (topic.hash + i) & mask;
      if (this.topics[free] !== undefined) continue;
      at = free;
      this.taken++;
      break;
    }
    this.topics[at] = topic;
    this.verdicts[at] = verdict;
  }

  private grow(): void {
    if (this.topics.length >= this.placesMax) return;
    const { topics, verdicts } = this;
    const places = Math.max(placesMin, topics.length * 2);
    this.topics = new Array(places).fill(undefined);
    this.verdicts = new Uint8Array(places);
    this.taken = 0;
    for (const [at, topic] of topics.entries()) {
      if (topic !== undefined) this.put(topic, verdicts[at] ?? 0);
    }
  }
}
