/**
 * Where the connections and sessions of this node are, in the words of the directory: a client's connection and its session
 * are two facts, and each node tells of its own.
 */
import type { ConnectionHost, DirectoryEntry } from "../cluster/directory-types.js";
import type { Adoptions } from "./adoption/adoptions.js";
import type { Channel } from "./channel.js";
import type { ClientWills } from "./client-wills.js";
import type { RemoteEnds } from "./remote/ends.js";
import type { RemoteSession } from "./remote/near.js";
import type { Session } from "./session.js";
import type { Superseded } from "./superseded/superseded.js";

interface PlacesHost {
  readonly remote: RemoteEnds | null;
  readonly wills: Pick<ClientWills, "holders" | "whenNoneIsOpen">;
  readonly superseded: Superseded | null;
  readonly adoptions: Adoptions | null;
  get(clientId: string): Session | undefined;
  all(): Iterable<Session>;
  /** Sessions that have ended, and may be back if this node dies at this moment. */
  allEnding(): Iterable<DirectoryEntry>;
  endingAt(clientId: string): DirectoryEntry | undefined;
  takeOver(channel: Channel): void;
  whenWillAccepted(done: () => void): void;
}

export class Places implements ConnectionHost {
  constructor(private readonly sessions: PlacesHost) {}

  displace(clientId: string, epoch: number, done: (sessionAt: string | null) => void): void {
    const { sessions } = this;
    const near = sessions.remote?.near(clientId);
    if (near !== undefined) {
      this.displaceNear(near, epoch, done);
      return;
    }
    const session = sessions.get(clientId);
    const channel = session?.channel ?? null;
    // A client that is connected elsewhere is displaced there.
    const isHere = session !== undefined && channel !== null && channel.node === null;
    if (!isHere) {
      // Closed for a claim that this one has overtaken, maybe: its will still comes first.
      sessions.wills.whenNoneIsOpen(clientId, () => {
        done(sessions.superseded?.youngerAt(clientId) ?? null);
      });
      return;
    }
    if (session.epoch >= epoch) {
      done(null);
      return;
    }
    sessions.takeOver(channel);
    sessions.whenWillAccepted(() => done(null));
  }

  beforeGrant(clientId: string, done: (isKnown: boolean) => void): void {
    const { adoptions, wills } = this.sessions;
    const settle = (isKnown: boolean): void => {
      if (wills.holders === null || !isKnown) done(isKnown);
      else wills.holders.beforeGrant(clientId, () => done(true));
    };
    if (adoptions === null) settle(true);
    else void adoptions.beforeGrant(clientId).then(settle);
  }

  get adopts(): boolean {
    return this.sessions.adoptions !== null;
  }

  isOwed(clientId: string): boolean {
    const { adoptions, wills } = this.sessions;
    return (adoptions?.isNeeded ?? false) || (wills.holders?.isOwed(clientId) ?? false);
  }

  supersede(clientId: string, epoch: number, by: string): void {
    this.sessions.superseded?.supersede(clientId, epoch, by);
  }

  *entries(): Iterable<DirectoryEntry> {
    for (const session of this.sessions.all()) yield entryOf(session);
    for (const entry of this.sessions.allEnding()) {
      if (this.sessions.get(entry.clientId) === undefined) yield entry;
    }
    for (const near of this.sessions.remote?.allNear() ?? []) yield nearEntryOf(near, undefined);
  }

  entry(clientId: string): DirectoryEntry | undefined {
    const session = this.sessions.get(clientId);
    const near = this.sessions.remote?.near(clientId);
    if (near !== undefined) return nearEntryOf(near, session);
    return session === undefined ? this.sessions.endingAt(clientId) : entryOf(session);
  }

  private displaceNear(
    near: RemoteSession,
    epoch: number,
    done: (sessionAt: string | null) => void,
  ): void {
    if (near.epoch >= epoch) {
      done(near.node);
      return;
    }
    if (near.channel.isOpen) this.sessions.takeOver(near.channel);
    // Its will, where due, is accepted at the session's node before.
    near.whenDurable(() => {
      const beside = this.sessions.get(near.clientId);
      // It has moved here meanwhile. An older one that is here is not the connection's.
      const hasCome = beside?.persistent === true && beside.epoch >= near.epoch;
      done(hasCome ? null : near.sessionAt);
    });
  }
}

/** Made at every CONNECT and at its end: a literal with a spread would be another kind of object each time. */
function entryOf(session: Session): DirectoryEntry {
  const { clientId, user, epoch, channel, persistent } = session;
  const isConnected = channel !== null && channel.node === null;
  const isConnectedElsewhere = channel !== null && channel.node !== null;
  const connection = isConnected ? epoch : null;
  return { clientId, user, connection, session: persistent || isConnectedElsewhere ? epoch : null };
}

function nearEntryOf(near: RemoteSession, beside: Session | undefined): DirectoryEntry {
  const { clientId, user, epoch } = near;
  const session = beside?.persistent ? beside.epoch : null;
  return { clientId, user, connection: epoch, session };
}
