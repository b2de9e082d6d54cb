/** What the session layer and the directory say to each other (design: docs/wire.md, "Directory"). */

/** The connection that a claim is for. A claim of one that has closed meanwhile comes to nothing. */
export interface Claimant {
  readonly isOpen: boolean;
  /**
   * Its client has gone, and what it sent before its CONNACK is handled if the claim is granted soon and is in nobody's way:
   * the client may be connected elsewhere by now.
   */
  readonly hasLeft?: boolean;
}

/** The wish of a node to serve a connection of a client id. */
export interface Claim {
  readonly clientId: string;
  readonly user: string;
  readonly by: Claimant;
}

/** Where a session is. */
export interface SessionPlace {
  readonly node: string;
  /** Not up: what it holds cannot be had for now. */
  readonly isUp: boolean;
}

export type ClaimResult =
  | {
      readonly granted: true;
      /** Higher than that of any earlier claim of this client id. */
      readonly epoch: number;
      /** The other node that holds the session of this client id; null: there is none, or it is here. */
      readonly sessionAt: SessionPlace | null;
      /** There are older sessions than that one, which hand over what they have: Clean Start ends them too. */
      readonly older?: boolean;
    }
  /** `superseded`: a newer claim came while this one waited, or its connection has closed. */
  | { readonly granted: false; readonly why: "other-user" | "superseded" | "unavailable" };

/** Asked by the session layer at every CONNECT, in a cluster of one as well. */
export interface Directory {
  /**
   * Asks for the right to serve a connection. `done` is called once, possibly before `claim` returns; by
   * then older connections of the id, here or elsewhere, are closed (or `takeover.timeout` is over).
   */
  claim(claim: Claim, done: (result: ClaimResult) => void): void;
  /** Has a claim that is newer than that one been granted here, or asked for its end? Then it comes to nothing. */
  isOutdated(clientId: string, epoch: number): boolean;
  /** The connection of that claim is attached to its session, here or at another node. */
  attached(clientId: string, epoch: number): void;
  /** The connection of that claim is closed. `sessionKept`: its session lives on in this node. */
  released(clientId: string, epoch: number, sessionKept: boolean): void;
  /**
   * What is here of a client id has become another without a claim of this node: a session without connection here has
   * ended, moved, or was attached to by another node. Up to that epoch this node has what `entry` says.
   */
  changed(clientId: string, epoch: number): void;
}

/**
 * What one node has of a client id: two facts, each with the epoch of the claim by which it came about. A client
 * whose session is at A and whose connection is at B has an entry at both.
 */
export interface DirectoryEntry {
  readonly clientId: string;
  readonly user: string;
  /** Epoch of the connection that is here, 0 while no home has granted it; null: there is none. */
  readonly connection: number | null;
  /**
   * Epoch of the session that is here and outlives its connection, or has it at another node; null: there is
   * none.
   */
  readonly session: number | null;
}

/** What the directory asks of the session layer. */
export interface ConnectionHost {
  /**
   * Closes the client id's connection here if its epoch is older than `epoch` (v5: DISCONNECT 0x8E), and a
   * claim that still waits. Calls `done` when it is closed and its will, where due, is accepted; at once
   * when there is none. `sessionAt`: the other node where the session of the closed connection lives on; null:
   * nowhere else.
   */
  displace(clientId: string, epoch: number, done: (sessionAt: string | null) => void): void;
  /**
   * This node is about to grant a claim, as the client id's home: `done` when what connections at nodes that are down
   * have left behind (wills) is settled. `isKnown`: whether the client id has a session; else the claimant has to come again.
   */
  beforeGrant?(clientId: string, done: (isKnown: boolean) => void): void;
  /** Has `beforeGrant` something to settle for this client id? Without this function it is always asked. */
  isOwed?(clientId: string): boolean;
  /** Sessions of nodes that died are adopted by others: whoever cannot be asked may have one. */
  readonly adopts?: boolean;
  /** The client id has a session of a higher epoch at node `by`: one that is here has lost its place. */
  supersede?(clientId: string, epoch: number, by: string): void;
  /** Every session and connection in this node. */
  entries(): Iterable<DirectoryEntry>;
  /** The entry of one client id. */
  entry(clientId: string): DirectoryEntry | undefined;
}
