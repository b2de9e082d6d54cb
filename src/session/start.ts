/**
 * Sessions and wills of earlier processes, when a node starts: first all is loaded, then, when the members are known, what had
 * begun goes on, and what was not known to be accepted is published again.
 */
import type { Cluster } from "../cluster/cluster.js";
import type { Message } from "../routing/message.js";
import type { Adoptions } from "./adoption/adoptions.js";
import type { ClientWills } from "./client-wills.js";
import type { SessionHost } from "./host.js";
import type { Journals } from "./journal/journals.js";
import { type Loaded, Recovery } from "./journal/recovery.js";
import type { Moves } from "./move/moves.js";
import type { Session } from "./session.js";
import type { Superseded } from "./superseded/superseded.js";
import type { HeldWill } from "./will-record.js";

/** The sessions of the node. */
export interface StartHost extends SessionHost {
  readonly journals: Journals | null;
  readonly wills: ClientWills;
  readonly moves: Moves | null;
  readonly superseded: Superseded | null;
  readonly adoptions: Adoptions | null;
  /** It is one of the node's from now on. */
  put(session: Session): void;
}

/** Peers may send what they have for this node, as soon as it is known what of it belongs to its sessions. */
export async function openStreams(
  cluster: Pick<Cluster, "holdsStream" | "openStreams">,
  { adoptions, moves }: Pick<StartHost, "adoptions" | "moves">,
): Promise<void> {
  await adoptions?.settled();
  cluster.holdsStream = (name) => moves?.leftovers.isAwaited(name) ?? false;
  cluster.openStreams();
}

export class SessionsStart {
  private recovered: Message[] = [];
  /** Who waits until they are published. */
  private waiting: (() => void)[] = [];

  constructor(private readonly sessions: StartHost) {}

  async load(onProgress: (loaded: Loaded) => void): Promise<Loaded> {
    const { sessions } = this;
    const { journals, wills } = sessions;
    if (journals === null) return { sessions: 0, messages: 0, highestEpoch: 0 };
    const came = new Map<string, HeldWill>();
    const recovery = new Recovery(sessions, journals, {
      onSession: (session) => sessions.put(session),
      onMoving: (session, note) => sessions.moves?.restoreOutgoing(session, note),
      onMoved: (clientId, note) => sessions.moves?.restoreIncoming(clientId, note),
      onWill: (will) => came.set(will.clientId, will),
      onSuccession: (session, record) => sessions.superseded?.restore(session, record),
      onLeftovers: (session, note) => sessions.moves?.leftovers.restore(session, note),
      onClaimed: (session, claims) => sessions.adoptions?.restoreClaimed(session, claims),
      onAdopted: (session, note, subscriptions) =>
        sessions.adoptions?.restoreAdopted(session, note, subscriptions),
      onProgress,
    });
    const loaded = await recovery.run();
    await sessions.moves?.stubs.load();
    this.recovered = recovery.publishes;
    if (this.recovered.length > 0) journals.publishes.hold();
    await wills.load();
    for (const will of came.values()) wills.cameWith(will);
    return loaded;
  }

  async publishRecovered(): Promise<void> {
    const { moves, superseded, adoptions, journals, wills } = this.sessions;
    adoptions?.expectRows();
    moves?.resume();
    await superseded?.resume();
    const { recovered } = this;
    this.recovered = [];
    journals?.publishes.publishLeft(recovered);
    for (const again of this.waiting.splice(0)) again();
    for (const held of await wills.recover()) wills.takeUp(held);
    adoptions?.start();
  }

  /**
   * True: what the client had sent is published again first, and then `again` is called. A client that is connected to another node
   * may come for its session before this one lets in any.
   */
  isWaitedFor(clientId: string, again: () => void): boolean {
    if (!this.recovered.some(({ publisher }) => publisher === clientId)) return false;
    this.waiting.push(again);
    return true;
  }
}
