/** Which of the workers of a node a ctl command is for, when the operator names the node and not one of them. */

/**
 * all: each does it or tells its part · owner: the one that has the client or session · any: one of them, for the
 * whole cluster or for a file that they share · named: the operator must say which.
 */
export type Reach = "all" | "owner" | "any" | "named";

export const reachOf: Readonly<Record<string, Reach>> = {
  join_cluster: "any",
  leave_cluster: "named",
  remove_from_cluster: "any",
  status: "any",
  names: "any",
  "clients list": "all",
  "clients show": "owner",
  "clients kick": "owner",
  "sessions list": "all",
  "sessions show": "owner",
  "sessions move": "owner",
  "sessions delete": "owner",
  "drain start": "named",
  "drain status": "named",
  "drain undo": "named",
  "rebalance plan": "named",
  "rebalance start": "named",
  "rebalance status": "named",
  "rebalance stop": "named",
  "subscriptions list": "all",
  "routes list": "any",
  "routes verify": "all",
  explain: "all",
  "retained list": "any",
  "retained get": "any",
  "retained delete": "any",
  "outbox list": "all",
  "outbox show": "all",
  // They ask, and each worker has outboxes of its own.
  "outbox redirect": "named",
  "outbox discard": "named",
  presence: "any",
  publish: "any",
  "users add": "any",
  "users passwd": "any",
  "users delete": "any",
  "users import": "any",
  "users list": "any",
  "acl check": "any",
  "acl reload": "all",
  "ban add": "any",
  "ban delete": "any",
  "ban list": "any",
  "store stats": "all",
  "store verify": "all",
  "store compact": "all",
  // Each would write its files over those of the one before.
  "store backup": "named",
  listeners: "all",
  metrics: "all",
  "log level": "all",
  report: "any",
  stop: "named",
};
