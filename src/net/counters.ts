/** What the network side counts. Plain fields: a count on the publish path is one addition. */

export class NetCounters {
  connectionsOpened = 0;
  connectionsClosed = 0;
  /** Refused because `limits.connections` was reached. */
  connectionsRefused = 0;
  bytesIn = 0;
  bytesOut = 0;
  receivedQos0 = 0;
  receivedQos1 = 0;
  receivedQos2 = 0;
  /** QoS 2 publishes whose packet id was open already. */
  receivedQos2Again = 0;
  /** Publishes to topics of the node's own. */
  ignoredReserved = 0;
  /** Messages on topics that a client of a listener with a mount point cannot see, so it is not sent them. */
  outsideMountPoint = 0;
  /** Times that a connection was not read because too much of it was unanswered. */
  readsPaused = 0;
  /** Times that a connection that brought much left off, so that others had their turn. */
  readsYielded = 0;
  /** Publishes refused by a limit (PUBACK or PUBREC with a reason code; none in MQTT 3). */
  publishesRefused = 0;
  /** Failed assertions and other surprises, each of which closed its connection. */
  bugs = 0;
  /** Closed connections by reason. */
  readonly closedBy: Record<string, number> = {};

  closed(why: string): void {
    this.connectionsClosed++;
    this.closedBy[why] = (this.closedBy[why] ?? 0) + 1;
  }
}
