/** What the cluster is told of the settings. */
import type { Config } from "../config/schema.js";
import type { ClusterSettings } from "./context.js";
import { parseHostPort } from "./names.js";

export function clusterSettings(config: Config): ClusterSettings {
  const { cluster, limits } = config;
  const advertise = cluster.advertise === "" ? null : parseHostPort(cluster.advertise);
  return {
    bind: cluster.bind,
    portRange: cluster.port_range,
    advertiseHost: advertise?.host ?? null,
    advertisePort: advertise?.port ?? null,
    heartbeatIntervalMs: cluster.heartbeat_interval,
    suspectAfterMs: cluster.suspect_after,
    confirmTimeoutMs: cluster.confirm_timeout,
    redialMaxMs: cluster.redial_max,
    outputBytes: cluster.output_bytes,
    ackTimeoutMs: config.publish.ack_timeout,
    syncTimeoutMs: config.subscribe.sync_timeout,
    takeoverTimeoutMs: config.takeover.timeout,
    outboxMessages: limits.outbox_messages,
    outboxBytes: limits.outbox_bytes,
    forgetAfterMs: cluster.forget_after,
    outboxAgeMs: cluster.forget_after,
    frameMax: Math.max(16 * 1024 * 1024, limits.max_packet + 1024 * 1024),
  };
}
