/**
 * What a listener decides about the clients that come through it. One object for all connections of a
 * listener, except where each client has a certificate of its own; it is never changed.
 */
export interface ListenerPolicy {
  /** The listener's name, as in `broker ctl listeners`. */
  readonly name: string;
  /** May clients stay anonymous here? */
  readonly anonymous: boolean;
  /** They may not because it is reached from elsewhere, and nobody has said that they may. */
  readonly closedToStrangers: boolean;
  /**
   * The common name of the client's certificate, which the listener has verified and takes as the user
   * name; null: the client shows who it is in its CONNECT.
   */
  readonly certificateUser: string | null;
  /** Put before every topic and filter of these clients, and taken off what they get; "": nothing. */
  readonly mountPoint: string;
}
