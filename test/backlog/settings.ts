/** Settings with which nothing of hours of backlog is dropped: its queues and outboxes hold all of it. */
export const roomySettings: readonly string[] = [
  "limits.session_queue_messages=10000000",
  "limits.session_queue_bytes=4GiB",
  "limits.outbox_messages=10000000",
  "limits.outbox_bytes=4GiB",
];
