/** What the session layer counts. Plain fields: a count on the publish path is one addition. */

export class SessionCounters {
  /** Messages sent to clients, by QoS; resent ones are not counted again. */
  sentQos0 = 0;
  sentQos1 = 0;
  sentQos2 = 0;
  resent = 0;
  acknowledged = 0;
  queued = 0;
  /** Retained messages sent to new subscriptions, or dropped and counted on the way. */
  replayed = 0;
  /** Messages whose acceptance was delayed because a session's queue was full. */
  parked = 0;
  /** The oldest of a full queue. */
  droppedQueueFull = 0;
  /** QoS 0 messages for a session without a connection. */
  droppedOffline = 0;
  /** Waited until they had expired. */
  droppedExpired = 0;
  /** Larger than the client accepts, or (`NetCounters.outsideMountPoint`) not for it to see. */
  droppedTooLarge = 0;
  /** QoS 0 messages while too much waited to be sent. */
  droppedOutputFull = 0;
  /** Taken before: an origin or this node itself sent them again after a crash. */
  droppedRepeats = 0;
  /** Of sessions whose messages could not be read from the store, for now or at all. */
  readsFailed = 0;
  /** Messages whose records are damaged. */
  lostDamaged = 0;
  /** Sessions that another node has taken over in the store. */
  fenced = 0;
  /** Messages that waited for a session when it ended. */
  droppedSessionEnd = 0;
  sessionsCreated = 0;
  sessionsResumed = 0;
  sessionsExpired = 0;
  /** Moved here while their clients were connected, whose connections went on with them. */
  sessionsFollowed = 0;
  /** MQTT 5 sessions that are kept for a shorter time than was asked for. */
  expiryShortened = 0;
  /** Clients with a shorter keep-alive than they asked for. */
  keepAliveShortened = 0;
  takenOver = 0;
  willsPublished = 0;
  subscriptionsRefused = 0;
  claimsRefused = 0;
}
