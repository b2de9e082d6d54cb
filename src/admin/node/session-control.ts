/** Clients, sessions and their subscriptions in this node, as the commands see them. */
import { Refusal } from "../../lib/refusal.js";
import { ReasonCode } from "../../protocol/reason-codes.js";
import {
  listClients,
  listSessions,
  listSubscriptions,
  showClient,
  showSession,
} from "../../session/listings.js";
import type { Sessions } from "../../session/sessions.js";
import type { ClientControl, SessionControl, SubscriptionControl } from "../parts.js";

export function clientControl(sessions: Sessions): ClientControl {
  return {
    list: () => listClients(sessions),
    show: (clientId) => showClient(sessions, clientId),
    kick: (clientId) => {
      const attached = sessions.remote?.near(clientId) ?? sessions.get(clientId);
      const channel = attached?.channel ?? null;
      channel?.close(ReasonCode.AdministrativeAction);
      return channel !== null;
    },
  };
}

export function sessionControl(sessions: Sessions): SessionControl {
  return {
    list: () => listSessions(sessions),
    show: (clientId) => showSession(sessions, clientId),
    delete: async (clientId) => {
      const near = sessions.remote?.near(clientId);
      if (near === undefined) return sessions.delete(clientId);
      return (await sessions.remote?.endFar(near)) ?? false;
    },
    move: (clientId, node) => {
      if (sessions.moves === null) throw new Refusal("sessions of this node do not move");
      return sessions.moves.push(clientId, node);
    },
  };
}

export function subscriptionControl(sessions: Sessions): SubscriptionControl {
  return { list: (clientId) => listSubscriptions(sessions, clientId) };
}
