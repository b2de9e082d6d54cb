/** Clients, sessions and their subscriptions in this node, as the commands see them. */
import { ReasonCode } from "../../protocol/reason-codes.js";
import type { Session } from "../../session/session.js";
import type { Sessions } from "../../session/sessions.js";
import type {
  ClientControl,
  ClientInfo,
  SessionControl,
  SessionInfo,
  SubscriptionControl,
  SubscriptionInfo,
} from "../parts.js";
import { page } from "./routing-control.js";

export function clientControl(sessions: Sessions): ClientControl {
  return {
    list: (limit) => page(clients(sessions), limit),
    show: (clientId) => {
      const session = sessions.get(clientId);
      return session === undefined ? undefined : clientInfo(session);
    },
    kick: (clientId) => {
      const channel = sessions.get(clientId)?.channel ?? null;
      channel?.close(ReasonCode.AdministrativeAction);
      return channel !== null;
    },
  };
}

export function sessionControl(sessions: Sessions): SessionControl {
  return {
    list: (limit) => page(sessionInfos(sessions), limit),
    show: (clientId) => {
      const session = sessions.get(clientId);
      return session === undefined ? undefined : sessionInfo(session);
    },
    delete: (clientId) => sessions.delete(clientId),
  };
}

export function subscriptionControl(sessions: Sessions): SubscriptionControl {
  return {
    list: (clientId, limit) => page(subscriptions(sessions, clientId), limit),
  };
}

function* clients(sessions: Sessions): Iterable<ClientInfo> {
  for (const session of sessions.all()) {
    const info = clientInfo(session);
    if (info !== undefined) yield info;
  }
}

function clientInfo(session: Session): ClientInfo | undefined {
  const { channel, clientId, user, persistent } = session;
  if (channel === null) return undefined;
  const { address, version, keepAliveSeconds, connectedAtMs } = channel.info();
  const connectedAt = new Date(connectedAtMs).toISOString();
  return {
    ...{ clientId, user, address, protocolVersion: version, keepAliveSeconds },
    ...{ connectedAt, persistent },
  };
}

function* sessionInfos(sessions: Sessions): Iterable<SessionInfo> {
  for (const session of sessions.all()) yield sessionInfo(session);
}

const sessionInfo = (session: Session): SessionInfo => ({
  clientId: session.clientId,
  user: session.user,
  connected: session.channel !== null,
  expiryMs: session.expiryMs,
  subscriptions: session.subscriptions.size,
  queued: session.queued,
  queuedBytes: session.queue?.bytes ?? 0,
  inflight: session.window.inFlight,
  openQos2: session.openQos2,
});

function* subscriptions(
  sessions: Sessions,
  clientId: string | undefined,
): Iterable<SubscriptionInfo> {
  for (const session of sessions.all()) {
    if (clientId !== undefined && session.clientId !== clientId) continue;
    for (const [filter, { qos, noLocal, retainAsPublished }] of session.subscriptions) {
      yield { clientId: session.clientId, filter, qos, noLocal, retainAsPublished };
    }
  }
}
