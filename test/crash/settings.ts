/** Settings of the node that is killed: its queues hold whatever a round brings. */
export const crashSettings: readonly string[] = [
  "limits.session_queue_messages=1000000",
  "limits.session_queue_bytes=1GiB",
];

/** Of several nodes: a session stays where the trial expects it. */
export const clusterCrashSettings: readonly string[] = [...crashSettings, "session.placement=stay"];
