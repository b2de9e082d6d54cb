/**
 * The store that all nodes of a world share, as one process reaches it: the real leases and places (store/shared-memory.ts) and
 * the partitions of other nodes. Whatever it asks takes a while to get there, and so does the answer; of a process that dies
 * in between either may be lost.
 */
import type { Cluster } from "../../../src/cluster/cluster.js";
import { clusterLease } from "../../../src/cluster/lease.js";
import { Adopter } from "../../../src/store/adoption.js";
import type { Lease } from "../../../src/store/lease.js";
import type { LeaseBook, LeaseTimes } from "../../../src/store/shared.js";
import type { MemoryAccess } from "../../../src/store/shared-memory.js";
import type { Store } from "../../../src/store/store.js";
import type { Life } from "../world/node.js";

export const leaseTimes: LeaseTimes = { intervalMs: 1_000, leaseMs: 4_000 };
const callMsMax = 4;
/** How long a start waits for those who adopt, before it insists. */
const adoptersMs = 1_500;
const startTimeoutMs = 10_000;

export function adopterOf(self: string, access: MemoryAccess, life: Life): Adopter {
  const { clock, log } = life;
  return new Adopter({ self, book: slowBook(access, life), times: leaseTimes, clock, log });
}

/** The lease of one process, which is to be taken when its members are loaded. */
export function leaseOf(
  cluster: Cluster,
  access: MemoryAccess,
  life: Life,
  on: { onSuspended: (why: string | null) => void; onEnded: (why: string) => void },
): Lease {
  const book = slowBook(access, life);
  const { clock, log } = life;
  const times = { times: leaseTimes, startTimeoutMs, adoptersMs };
  return clusterLease(cluster, { ...{ book, clock, log }, ...times, ...on });
}

function slowBook(access: MemoryAccess, life: Life): LeaseBook {
  const slowly = <T>(call: () => Promise<T>): Promise<T> => across(life, call);
  return {
    take: (...args) => slowly(() => access.take(...args)),
    renew: (holder) => slowly(() => access.renew(holder)),
    release: (holder) => slowly(() => access.release(holder)),
    takePlace: (...args) => slowly(() => access.takePlace(...args)),
    renewPlace: (...args) => slowly(() => access.renewPlace(...args)),
    giveBack: (...args) => slowly(() => access.giveBack(...args)),
    storeOf: (node, generation) => slowStore(access.storeOf(node, generation), life),
  };
}

function slowStore(store: Store, life: Life): Store {
  return {
    atomic: store.atomic,
    read: (...args) => across(life, () => store.read(...args)),
    partitions: (...args) => across(life, () => store.partitions(...args)),
    write: (writes) => across(life, () => store.write(writes)),
    flush: () => Promise.resolve(),
    close: () => Promise.resolve(),
  };
}

/** There and back. */
async function across<T>(life: Life, call: () => Promise<T>): Promise<T> {
  await pause(life, life.random.between(0, callMsMax));
  const result = await call();
  await pause(life, life.random.between(0, callMsMax));
  return result;
}

const pause = (life: Life, ms: number): Promise<void> =>
  new Promise((resolve) => life.timeline.schedule(ms, life, resolve));
