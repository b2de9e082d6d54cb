/** What `ctl metrics` shows: the counters and gauges of all parts of a node. */
import type { Acl } from "../../auth/acl/acl.js";
import type { Bans } from "../../auth/bans/bans.js";
import type { UsersFile } from "../../auth/users-file.js";
import type { Cluster } from "../../cluster/cluster.js";
import type { LoopDelay } from "../../lib/clock.js";
import type { FrontEnd } from "../../net/front-end.js";
import type { Router } from "../../routing/router.js";
import type { ClientEvents } from "../../session/client-events.js";
import type { Moves } from "../../session/move/moves.js";
import type { Adopter } from "../../store/adoption.js";
import type { Lease } from "../../store/lease.js";
import type { NodeStore } from "../../store/node-store.js";
import type { AdminServer } from "../http/server.js";
import { type CounterSource, collectMetrics } from "./metrics.js";

export interface CountingParts {
  readonly cluster: Cluster;
  readonly router: Router;
  readonly frontEnd: FrontEnd;
  readonly users: UsersFile;
  readonly acl: Acl;
  readonly bans: Bans;
  readonly kept: NodeStore | null;
  /** Null, both: no other node reaches what is stored. */
  readonly lease: Pick<Lease, "counters" | "gauges"> | null;
  readonly adopter: Pick<Adopter, "counters"> | null;
  readonly loopDelay: LoopDelay;
  readonly events: ClientEvents;
  /** Null: it is not offered. */
  readonly admin: Pick<AdminServer, "counters"> | null;
}

export function nodeMetrics(parts: CountingParts): Record<string, number> {
  const { cluster, router, frontEnd, users, acl, bans, kept, loopDelay, events, admin } = parts;
  const { directory, acceptor, members, table } = cluster;
  const { sessions, authenticator } = frontEnd;
  const { heapUsed, rss } = process.memoryUsage();
  const sources: Record<string, CounterSource> = {
    net: { ...frontEnd.counters, ...frontEnd.stallWatch.counters, connected: frontEnd.connected },
    listeners: { ...frontEnd.doors.counters, pending: frontEnd.doors.pending },
    session: { ...sessions.counters, held: sessions.size },
    wills: { ...sessions.wills.stored?.counters, ...sessions.wills.holders?.counters },
    ...(sessions.adoptions === null
      ? {}
      : { adoption: { ...sessions.adoptions.counters, pending: sessions.adoptions.pending } }),
    ...(sessions.moves === null ? {} : { moves: moveCounters(sessions.moves) }),
    ...(sessions.superseded === null
      ? {}
      : {
          superseded: {
            ...sessions.superseded.counters,
            under_way: sessions.superseded.underWay,
            in_doubt: sessions.superseded.inDoubt.size,
          },
        }),
    ...(sessions.remote === null
      ? {}
      : {
          remote: { ...sessions.remote.counters, ...sessions.remote.sizes },
        }),
    auth: {
      ...authenticator.counters,
      ...authenticator.methodCounters,
      checksWaiting: authenticator.waiting,
    },
    users: { ...users.counters, held: users.size },
    acl: { ...acl.counters, rules: acl.size },
    bans: { ...bans.counters, held: bans.size },
    routing: { ...router.counters },
    shared: { ...router.shared.counters, groups: router.index.groupCount },
    retained: {
      ...router.retained.counters,
      messages: router.retained.size,
      bytes: router.retained.bytes,
      tombstones: router.retained.tombstoneCount,
    },
    rows: { ...table.counters, held: table.size },
    cluster: { ...cluster.counters, ...members.counters },
    common: {
      ...cluster.common.counters,
      held: cluster.common.size,
      tombstones: cluster.common.tombstones,
    },
    link_port: { ...acceptor.counters },
    directory: { ...directory.counters, home: { ...directory.home.counters } },
    process: { heap_used: heapUsed, rss, ...loopDelay.read() },
    ...(kept === null ? {} : { store: kept.counters, "store.lease": leaseCounters(parts) }),
    presence: presenceCounters(events),
    ...(admin === null ? {} : { admin: { ...admin.counters } }),
  };
  for (const peer of cluster.peers()) {
    const { sender, receiver, rows } = peer;
    sources[`peer.${peer.name}`] = {
      ...peer.counters,
      ...sender.counters,
      ...receiver.counters,
      ...{ rows: rows.count, unaccepted: sender.length, unaccepted_bytes: sender.heldBytes },
    };
  }
  return collectMetrics(sources);
}

const moveCounters = ({ counters, underWay, stubs, leftovers }: Moves): CounterSource => ({
  ...counters,
  under_way: { ...underWay, stubs: stubs.size, incomplete: leftovers.size },
});

const leaseCounters = ({ lease, adopter }: CountingParts): CounterSource => ({
  ...{ ...lease?.counters, ...lease?.gauges, ...adopter?.counters },
});

const presenceCounters = ({ counters, copies, waitingCount }: ClientEvents): CounterSource => ({
  ...{ ...counters, ...copies.counters, waiting: waitingCount, held: copies.size },
});
