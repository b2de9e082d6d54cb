/**
 * A session moves while its client is connected, and the connection goes on with it: at the connection's node, which turns to
 * the session's new place, and at that place, where the session waits for its connection. Nothing is sent again, and the
 * client is not greeted. A connection that does not come was lost on the way.
 */
import type { Directory } from "../../cluster/directory-types.js";
import type { Channel } from "../channel.js";
import type { SessionHost } from "../host.js";
import type { ConnectRequest, Opening } from "../opening.js";
import type { AttachedSession, RemoteSession } from "../remote/near.js";
import type { Session } from "../session.js";

/** How long a session waits for its connection. */
const arrivalMs = 5_000;

/** What it uses of the sessions. */
export interface ArrivalsHost extends Pick<SessionHost, "wheel" | "counters"> {
  get(clientId: string): Session | undefined;
  readonly remote: { goOn(opening: Opening, node: string): RemoteSession | null } | null;
  /** The session goes on without connection, or ends. */
  loseConnection(session: Session, willDue: boolean): void;
}

export class Arrivals {
  constructor(
    private readonly host: ArrivalsHost,
    private readonly directory: Pick<Directory, "attached" | "changed">,
    /** The name of this node. */
    private readonly self: string,
  ) {}

  /**
   * The session of a connection here has moved: returns what the connection has in place of it; null: the session is not
   * there any more, or out of reach.
   */
  follow(
    before: AttachedSession,
    channel: Channel,
    node: string,
    epoch: number,
  ): AttachedSession | null {
    const request = before.isRemote ? before.opening.request : requestOf(before);
    const continues = new Set(before.isRemote ? before.freshIds() : before.incoming.freshIds());
    const opening = {
      request,
      channel,
      epoch,
      continues,
      absent: [],
      moves: 0,
      done: () => undefined,
    };
    if (node !== this.self) return this.host.remote?.goOn(opening, node) ?? null;
    const session = this.arrived(request.clientId, epoch);
    if (session !== null) this.continue(session, opening);
    return session;
  }

  /** A session has come whose client is connected: its connection will. */
  expect(session: Session): void {
    this.host.wheel.set(session, arrivalMs);
  }

  /** The session that waits for that connection; null: there is none. */
  arrived(clientId: string, epoch: number): Session | null {
    const session = this.host.get(clientId);
    return session?.isArriving && session.epoch === epoch ? session : null;
  }

  /** The connection is there. */
  continue(session: Session, { channel, request, epoch, continues = none }: Opening): void {
    const { clientId, expiryMs, will } = session;
    const { receiveMaximum } = request;
    this.host.counters.sessionsFollowed++;
    session.attach({
      ...{ channel, epoch, expiryMs, receiveMaximum, will },
      ...{ resumed: true, continues },
    });
    if (channel.node === null) this.directory.attached(clientId, epoch);
    else this.directory.changed(clientId, epoch);
  }

  /** Its connection does not come, or another one has come. */
  lost(session: Session): void {
    session.isArriving = false;
    this.host.loseConnection(session, true);
    this.directory.changed(session.clientId, session.epoch);
  }
}

const none: ReadonlySet<number> = new Set();

/** As the connection would ask for the session. */
function requestOf(session: Session): ConnectRequest {
  const { clientId, user, access, rules, expiryMs, will, window } = session;
  const { receiveMaximum } = window;
  return { clientId, user, access, rules, clean: false, expiryMs, receiveMaximum, will };
}
