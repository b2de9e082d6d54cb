/** Sessions, clients and subscriptions as plain data, for commands. */
import type { Channel } from "./channel.js";
import type { AttachedSession } from "./remote/near.js";
import type { Session } from "./session.js";
import type { Sessions } from "./sessions.js";

export interface ClientListing {
  readonly clientId: string;
  readonly user: string;
  readonly address: string;
  readonly protocolVersion: number;
  readonly keepAliveSeconds: number;
  /** ISO 8601. */
  readonly connectedAt: string;
  readonly persistent: boolean;
  readonly expiryMs: number;
  /** The node of its session, if that is another one; else null. That node knows what is in flight and waits. */
  readonly sessionNode: string | null;
  readonly inflight: number | null;
  readonly queued: number | null;
}

export interface SessionListing {
  readonly clientId: string;
  readonly user: string;
  readonly connected: boolean;
  /** The node where its client is connected, if that is another one; else null. */
  readonly connectionNode: string | null;
  readonly expiryMs: number;
  readonly subscriptions: number;
  readonly queued: number;
  readonly queuedBytes: number;
  readonly inflight: number;
  readonly openQos2: number;
}

export interface SubscriptionListing {
  readonly clientId: string;
  readonly filter: string;
  readonly qos: number;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
}

/** The connected clients of this node; `undefined` for a session without one. */
export function* listClients(sessions: Sessions): Iterable<ClientListing | undefined> {
  for (const session of sessions.all()) {
    const { channel } = session;
    yield channel?.node === null ? clientOf(session, channel) : undefined;
  }
  for (const near of sessions.remote?.allNear() ?? []) yield clientOf(near, near.channel);
}

/** One connected client; undefined: not connected here. */
export function showClient(sessions: Sessions, clientId: string): ClientListing | undefined {
  const attached = sessions.remote?.near(clientId) ?? sessions.get(clientId);
  const channel = attached?.channel ?? null;
  if (attached === undefined || channel === null || channel.node !== null) return undefined;
  return clientOf(attached, channel);
}

/** The sessions of this node, connected or not. */
export function* listSessions(sessions: Sessions): Iterable<SessionListing> {
  for (const session of sessions.all()) yield sessionOf(session);
}

/** One session; undefined: not in this node. */
export function showSession(sessions: Sessions, clientId: string): SessionListing | undefined {
  const session = sessions.get(clientId);
  return session === undefined ? undefined : sessionOf(session);
}

/** The subscriptions of one client (undefined: of all sessions here); `undefined` for a session that is done. */
export function* listSubscriptions(
  sessions: Sessions,
  clientId: string | undefined,
): Iterable<SubscriptionListing | undefined> {
  const one = clientId === undefined ? undefined : sessions.get(clientId);
  const chosen = clientId === undefined ? sessions.all() : one === undefined ? [] : [one];
  for (const session of chosen) {
    for (const [filter, { qos, noLocal, retainAsPublished }] of session.subscriptions) {
      yield { clientId: session.clientId, filter, qos, noLocal, retainAsPublished };
    }
    yield undefined;
  }
}

function clientOf(session: AttachedSession, channel: Channel): ClientListing {
  const { address, version, keepAliveSeconds, connectedAtMs } = channel.info();
  return {
    clientId: session.clientId,
    user: session.user,
    address,
    protocolVersion: version,
    keepAliveSeconds,
    connectedAt: new Date(connectedAtMs).toISOString(),
    persistent: session.persistent,
    expiryMs: session.expiryMs,
    sessionNode: session.isRemote ? session.node : null,
    inflight: session.isRemote ? null : session.window.inFlight,
    queued: session.isRemote ? null : session.queued,
  };
}

function sessionOf(session: Session): SessionListing {
  return {
    clientId: session.clientId,
    user: session.user,
    connected: session.channel !== null,
    connectionNode: session.channel?.node ?? null,
    expiryMs: session.expiryMs,
    subscriptions: session.subscriptions.size,
    queued: session.queued,
    queuedBytes: session.queue?.bytes ?? 0,
    inflight: session.window.inFlight,
    openQos2: session.openQos2,
  };
}
