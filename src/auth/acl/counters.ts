/** What authorisation counts: what was denied, by the path on which it was found out. */

export class AclCounters {
  deniedPublishes = 0;
  deniedSubscriptions = 0;
  /** Messages not sent to a subscriber as they were published. */
  deniedDeliveries = 0;
  /** Retained messages not sent to a new subscription. */
  deniedRetained = 0;
  /** Messages that had waited in a session's queue, or were in flight, when its client came back. */
  deniedQueued = 0;
  /** CONNECTs refused for the topic of their will. */
  deniedWills = 0;
  /** Wills that were not allowed any more when they were due. */
  deniedWillsDue = 0;
  /** Times that the file was read and taken. */
  loaded = 0;
  /** Times that it was not: the rules stayed as they were. */
  loadFailures = 0;
  /** 1: the file was not usable when it was last read; what holds is older. */
  failing = 0;
}
