/** Sessions, clients and subscriptions as plain data, for commands. */
import type { Channel } from "./channel.js";
import type { Session } from "./session.js";
import type { Sessions } from "./sessions.js";

/** The first items of a list that may be long, and how long it is. */
export interface Page<T> {
  readonly total: number;
  readonly items: readonly T[];
}

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
  readonly inflight: number;
  readonly queued: number;
}

export interface SessionListing {
  readonly clientId: string;
  readonly user: string;
  readonly connected: boolean;
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

/** The connected clients of this node, at most `limit` of them. */
export function listClients(sessions: Sessions, limit: number): Page<ClientListing> {
  const items: ClientListing[] = [];
  let total = 0;
  for (const session of sessions.all()) {
    if (session.channel === null) continue;
    if (total++ < limit) items.push(clientOf(session, session.channel));
  }
  return { total, items };
}

/** One connected client; undefined: not connected here. */
export function showClient(sessions: Sessions, clientId: string): ClientListing | undefined {
  const session = sessions.get(clientId);
  return session?.channel ? clientOf(session, session.channel) : undefined;
}

/** The sessions of this node, connected or not, at most `limit` of them. */
export function listSessions(sessions: Sessions, limit: number): Page<SessionListing> {
  const items: SessionListing[] = [];
  for (const session of sessions.all()) {
    if (items.length === limit) break;
    items.push(sessionOf(session));
  }
  return { total: sessions.size, items };
}

/** One session; undefined: not in this node. */
export function showSession(sessions: Sessions, clientId: string): SessionListing | undefined {
  const session = sessions.get(clientId);
  return session === undefined ? undefined : sessionOf(session);
}

/** The subscriptions of one client (undefined: of all sessions here), at most `limit` of them. */
export function listSubscriptions(
  sessions: Sessions,
  clientId: string | undefined,
  limit: number,
): Page<SubscriptionListing> {
  const items: SubscriptionListing[] = [];
  let total = 0;
  const one = clientId === undefined ? undefined : sessions.get(clientId);
  const chosen = clientId === undefined ? sessions.all() : one === undefined ? [] : [one];
  for (const session of chosen) {
    for (const [filter, { qos, noLocal, retainAsPublished }] of session.subscriptions) {
      if (total++ >= limit) continue;
      items.push({ clientId: session.clientId, filter, qos, noLocal, retainAsPublished });
    }
  }
  return { total, items };
}

function clientOf(session: Session, channel: Channel): ClientListing {
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
    inflight: session.window.inFlight,
    queued: session.queued,
  };
}

function sessionOf(session: Session): SessionListing {
  return {
    clientId: session.clientId,
    user: session.user,
    connected: session.channel !== null,
    expiryMs: session.expiryMs,
    subscriptions: session.subscriptions.size,
    queued: session.queued,
    queuedBytes: session.queue?.bytes ?? 0,
    inflight: session.window.inFlight,
    openQos2: session.openQos2,
  };
}
