/** What the session layer and the directory say to each other (design: docs/wire.md, "Directory"). */

/** The wish of a node to serve a connection of a client id. */
export interface Claim {
  readonly clientId: string;
  readonly user: string;
}

export type ClaimResult =
  | {
      readonly granted: true;
      /** Higher than that of any earlier claim of this client id. */
      readonly epoch: number;
      /** The other node that holds a persistent session of this client id, if any. */
      readonly sessionAt: string | null;
    }
  /** `superseded`: a newer claim came while this one waited. */
  | { readonly granted: false; readonly why: "other-user" | "superseded" | "unavailable" };

/** Asked by the session layer at every CONNECT, in a cluster of one as well. */
export interface Directory {
  /**
   * Asks for the right to serve a connection. `done` is called once, possibly before `claim` returns; by
   * then older connections of the id, here or elsewhere, are closed (or `takeover.timeout` is over).
   */
  claim(claim: Claim, done: (result: ClaimResult) => void): void;
  /** The connection of that claim is attached to its session here. */
  attached(clientId: string, epoch: number): void;
  /** The connection of that claim is closed. `sessionKept`: its session lives on in this node. */
  released(clientId: string, epoch: number, sessionKept: boolean): void;
  /** A session that had no connection has ended (expired or deleted). */
  ended(clientId: string, epoch: number): void;
}

/** One client id that this node answers for. */
export interface DirectoryEntry {
  readonly clientId: string;
  readonly user: string;
  readonly epoch: number;
  readonly connected: boolean;
  /** A session that outlives its connection. */
  readonly persistent: boolean;
}

/** What the directory asks of the session layer. */
export interface ConnectionHost {
  /**
   * Closes the client id's connection here if its epoch is older than `epoch` (v5: DISCONNECT 0x8E), and a
   * claim that still waits. Calls `done` when it is closed and its will, where due, is accepted; at once
   * when there is none.
   */
  displace(clientId: string, epoch: number, done: () => void): void;
  /** Every session and connection in this node. */
  entries(): Iterable<DirectoryEntry>;
  /** The entry of one client id. */
  entry(clientId: string): DirectoryEntry | undefined;
}
