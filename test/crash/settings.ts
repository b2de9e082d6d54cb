/** Settings of the node that is killed: its queues hold whatever a round brings. */
export const crashSettings: readonly string[] = [
  "limits.session_queue_messages=1000000",
  "limits.session_queue_bytes=1GiB",
];
