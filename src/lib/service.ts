/**
 * Whether this node serves clients, and if not, why: one object of the whole node. Each part sets its own reason and
 * clears it again; the node is in service while there is none. Health checks read it.
 */
import type { Clock } from "./clock.js";

/** Why a node does not serve, the gravest first: that one is told when there are several. */
export const serviceReasons = ["broken", "stopping", "leaving", "draining", "starting"] as const;

export type ServiceReason = (typeof serviceReasons)[number];

/** What a health check answers. */
export interface ServiceReport {
  readonly state: "in_service" | ServiceReason;
  /** A sentence for people. */
  readonly why: string;
  /** When the node came into this state, ISO 8601. */
  readonly since: string;
}

interface Held {
  readonly why: string;
  readonly sinceMs: number;
}

export class Service {
  private readonly held = new Map<ServiceReason, Held>();
  private inServiceSinceMs: number;
  private readonly watchers: ((inService: boolean) => void)[] = [];

  constructor(private readonly clock: Pick<Clock, "wallMs">) {
    this.inServiceSinceMs = clock.wallMs();
  }

  get inService(): boolean {
    return this.held.size === 0;
  }

  /** Is this a reason at the moment? */
  has(reason: ServiceReason): boolean {
    return this.held.has(reason);
  }

  /** Takes the node out of service; `why` is a sentence. Set again it only takes the new sentence. */
  set(reason: ServiceReason, why: string): void {
    const before = this.inService;
    const sinceMs = this.held.get(reason)?.sinceMs ?? this.clock.wallMs();
    this.held.set(reason, { why, sinceMs });
    if (before) this.tell(false);
  }

  /** This is no reason any more. The node is back in service when it was the last. */
  clear(reason: ServiceReason): void {
    if (!this.held.delete(reason) || !this.inService) return;
    this.inServiceSinceMs = this.clock.wallMs();
    this.tell(true);
  }

  /** Calls back whenever the node comes into service or leaves it. */
  watch(watcher: (inService: boolean) => void): void {
    this.watchers.push(watcher);
  }

  /** The gravest reason, or that there is none. */
  report(): ServiceReport {
    for (const state of serviceReasons) {
      const held = this.held.get(state);
      if (held === undefined) continue;
      return { state, why: held.why, since: new Date(held.sinceMs).toISOString() };
    }
    const since = new Date(this.inServiceSinceMs).toISOString();
    return { state: "in_service", why: "this node serves clients", since };
  }

  private tell(inService: boolean): void {
    for (const watcher of this.watchers) watcher(inService);
  }
}
