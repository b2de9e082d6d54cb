/**
 * What one client may do, as the rules are now. The verdict about the topic of the message before is at hand:
 * asking again costs a comparison of records and one of generations.
 */
import type { Acl } from "./acl.js";
import type { FullSubject } from "./acl-table.js";
import type { AclAction } from "./rule.js";
import type { Decision, KnownTopic, RuleSet } from "./rule-set.js";

export class Access {
  private set: RuleSet;
  private generation: number;
  private lastPublished: KnownTopic | null = null;
  private lastReceived: KnownTopic | null = null;
  private publishes = false;
  private receives = false;

  constructor(
    private readonly acl: Acl,
    private readonly subject: FullSubject,
  ) {
    this.set = acl.setFor(subject);
    this.generation = acl.generation;
  }

  mayPublish(topic: KnownTopic): boolean {
    if (topic === this.lastPublished && this.generation === this.acl.generation) {
      return this.publishes;
    }
    this.renew();
    this.publishes = this.set.mayPublish(topic);
    this.lastPublished = topic;
    if (!this.publishes) this.acl.tellDenied(this.subject, "publish", topic.name);
    return this.publishes;
  }

  /** May it get a message on this topic? */
  mayReceive(topic: KnownTopic): boolean {
    if (topic === this.lastReceived && this.generation === this.acl.generation) {
      return this.receives;
    }
    this.renew();
    this.receives = this.set.mayReceive(topic);
    this.lastReceived = topic;
    if (!this.receives) this.acl.tellDenied(this.subject, "subscribe", topic.name);
    return this.receives;
  }

  /**
   * May it subscribe to this filter (of a shared subscription, the one inside)? Single topics that it may not
   * receive are left out when messages are delivered.
   */
  maySubscribe(filter: string): boolean {
    this.renew();
    if (this.set.grantsFilters || this.set.decide("subscribe", filter).allowed) return true;
    this.acl.tellDenied(this.subject, "subscribe", filter);
    return false;
  }

  /** What the rules say, and which of them. */
  decide(action: AclAction, name: string): Decision {
    this.renew();
    return this.set.decide(action, name);
  }

  private renew(): void {
    const { acl } = this;
    if (this.generation === acl.generation) return;
    this.generation = acl.generation;
    this.set = acl.setFor(this.subject);
    this.lastPublished = this.lastReceived = null;
  }
}
