/**
 * What the journals of all sessions of a node share: the store, its group commits, bodies stored once for several
 * sessions, pages, and the QoS 2 publishes that wait for their commit.
 */
import type { Message } from "../../routing/message.js";
import type { TopicTable } from "../../routing/topic.js";
import type { StoreFailure } from "../../store/store.js";
import type { SessionCounters } from "../counters.js";
import type { CommitGroups, JournalParts } from "../host.js";
import type { Session } from "../session.js";
import { BatchPool } from "./batch.js";
import { Bodies } from "./bodies.js";
import { CommittedPublishes, qos2Origin } from "./committed-publishes.js";
import { SessionJournal } from "./journal.js";
import { Pages } from "./pages.js";

/** What they use of the sessions' side. */
export interface JournalsHost {
  readonly topics: TopicTable;
  readonly counters: SessionCounters;
  publish(message: Message): void;
  /** The session belongs to another node now. */
  onFenced(session: Session): void;
}

export class Journals {
  readonly batches = new BatchPool();
  readonly commits: CommitGroups;
  readonly bodies: Bodies | null;
  readonly pages: Pages;
  readonly publishes: CommittedPublishes;

  constructor(
    readonly parts: JournalParts,
    private readonly host: JournalsHost,
  ) {
    const { store, commits, log, incarnation } = parts;
    const { topics, counters } = host;
    const wallOffsetMs = (): number => this.wallOffsetMs();
    this.commits = commits;
    this.bodies = store.atomic ? new Bodies(store, commits, topics, wallOffsetMs) : null;
    this.pages = new Pages({
      ...{ store, bodies: this.bodies, topics, wallOffsetMs },
      defer: (callback) => parts.clock.defer(callback),
      onReadFailed: (partition, why) => {
        counters.readsFailed++;
        log.error({ partition, why }, "a session's messages could not be read");
      },
      onLost: (session, count) => {
        counters.lostDamaged += count;
        log.error({ clientId: session.clientId, count }, "messages of a session are damaged");
      },
    });
    this.publishes = new CommittedPublishes(
      (message) => host.publish(message),
      () => ({ name: qos2Origin, incarnation: incarnation() }),
    );
  }

  /** Why nothing new that has to be durable may be taken; null: all is well. */
  get stalled(): StoreFailure | null {
    return this.commits.stalled;
  }

  /** A journal for a session that is to outlive this process. */
  open(session: Session): SessionJournal {
    return new SessionJournal(session, this);
  }

  onFenced(session: Session): void {
    this.host.onFenced(session);
  }

  /** What makes wall-clock time of monotonic time, now. */
  wallOffsetMs(): number {
    const { clock } = this.parts;
    return clock.wallMs() - clock.monotonicMs();
  }
}
