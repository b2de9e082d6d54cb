/** What bench/routes.ts measures with: filters, topics, and a router in a cluster of two without sockets. */
import { PeerRows } from "../src/cluster/peer-rows.js";
import type { ClusterPort } from "../src/cluster/ports.js";
import { type RowFollower, type RowLink, RowTable } from "../src/cluster/row-table.js";
import { encode } from "../src/cluster/wire/messages.js";
import { realClock } from "../src/lib/clock.js";
import { Router } from "../src/routing/router.js";
import type { Subscriber } from "../src/routing/targets.js";

/** 60 % exact, 25 % with one or two `+`, 15 % with `#`; a thousand sites with their devices. */
export function mixedOf(index: number): string {
  return index % 5 < 3 ? exactOf(index) : wildOf(index);
}

export const exactOf = (index: number): string => `site/${index % 1000}/device/${index}/state`;

/** Filters with wildcards only; 3 in 8 with `#`. */
export function wildOf(index: number): string {
  const kind = (index >> 3) % 8;
  if (kind < 3) return `site/${index % 1000}/device/${index}/+`;
  if (kind < 4) return `+/${index % 1000}/+/${index}/alarm`;
  if (kind < 5) return `site/+/device/${index}/state`;
  return `site/${index % 1000}/device/${index}/#`;
}

/** Topics of which about half find somebody. */
export function topicOf(index: number, filters: number): string {
  const device = (index * 2_654_435_761) % (2 * filters);
  const what = index % 3 === 0 ? "alarm" : "state";
  return `site/${device % 1000}/device/${device}/${what}`;
}

export const subscription = {
  ...{ qos: 1 as const, noLocal: false, retainAsPublished: false, subscriptionId: 0 },
};

export function subscriberOf(clientId: string): Subscriber {
  return { clientId, deliver: () => true };
}

/** The peer of the cluster: it is sent every delta, and holds what it was sent at once. */
class Follower implements RowFollower {
  ackedSeq = Number.MAX_SAFE_INTEGER;
  sentBytes = 0;
  onEnd = (): void => {};
  readonly link: RowLink = {
    send: (kind, body) => {
      this.sentBytes += encode(kind, body).length;
      if (kind === "rowsEnd") this.onEnd();
    },
    sendControl: (frame) => {
      this.sentBytes += frame.length;
    },
    controlBufferedBytes: 0,
  };
  isWaitedFor(): boolean {
    return true;
  }
}

/** The cluster as a router sees it, with real rows and without links. */
export class BenchCluster implements ClusterPort {
  private readonly follower = new Follower();
  private readonly followers = [this.follower];
  readonly table = new RowTable(realClock, () => this.followers, 1000);
  private counter = 0;
  nameOf(peer: number): string {
    return `peer-${peer}@here`;
  }
  nextCounter(): number {
    return ++this.counter;
  }
  nextStamp(): number {
    return ++this.counter;
  }
  observeStamp(): void {}
  send(): boolean {
    return true;
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
  /** Sends all rows to the peer. */
  snapshot(): Promise<void> {
    return new Promise((resolve) => {
      this.follower.onEnd = resolve;
      this.table.sendSnapshot(this.follower.link);
    });
  }
  setRow(key: string, value: number): void {
    this.table.set(key, value);
  }
  whenSynced(done: () => void): void {
    done();
  }
  tell(): void {}
  tellBacklog(): number {
    return 0;
  }
  forwardAccepted(): void {}
}

const retained = { messages: 1, bytes: 1, forgetAfterMs: 1, ttlMs: 0 };

export function newRouter(cluster = new BenchCluster()): Router {
  return new Router(cluster, retained, realClock);
}

/** The copy of a peer's rows, in this router. */
export function copyIn(router: Router, peer: number, onHeld: () => void): PeerRows {
  return new PeerRows(
    {
      set: (key, value) => router.setPeerRow(peer, key, value),
      keys: () => router.peerRowKeys(peer),
    },
    realClock,
    onHeld,
  );
}

export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
