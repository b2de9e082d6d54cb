/**
 * The rules that concern one subject, in their order, and what they said lately about topics. The memory of
 * verdicts is bounded; nothing in a set changes, other rules make another set.
 */
import { type AclAction, covers, type ResolvedRule } from "./rule.js";

/** A topic that is interned: one record is asked about again and again. */
export interface KnownTopic {
  readonly name: string;
  readonly hash: number;
}

export interface Decision {
  readonly allowed: boolean;
  /** The rule that decided; null: none fits. */
  readonly rule: ResolvedRule | null;
}

const publishBit = 1;
const subscribeBit = 2;
const placesMin = 8;
/** Verdicts remembered: a topic has one place, by its hash. */
const placesMax = 4096;

export class RuleSet {
  private topics: (KnownTopic | undefined)[] = [];
  private verdicts = new Uint8Array(0);
  private taken = 0;

  constructor(
    private readonly rules: readonly ResolvedRule[],
    /** What holds when no rule fits. */
    private readonly allowsRest: boolean,
    readonly grantsFilters: boolean,
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

  allows(action: AclAction, topic: KnownTopic): boolean {
    const at = topic.hash & (this.topics.length - 1);
    const known = this.topics[at] === topic;
    const verdict = known ? (this.verdicts[at] ?? 0) : this.learn(topic);
    return (verdict & (action === "publish" ? publishBit : subscribeBit)) !== 0;
  }

  private learn(topic: KnownTopic): number {
    if (this.taken * 2 >= this.topics.length) this.grow();
    const verdict =
      (this.decide("publish", topic.name).allowed ? publishBit : 0) |
      (this.decide("subscribe", topic.name).allowed ? subscribeBit : 0);
    this.put(topic, verdict);
    return verdict;
  }

  private put(topic: KnownTopic, verdict: number): void {
    const at = topic.hash & (this.topics.length - 1);
    if (this.topics[at] === undefined) this.taken++;
    this.topics[at] = topic;
    this.verdicts[at] = verdict;
  }

  private grow(): void {
    if (this.topics.length >= placesMax) return;
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
