/** What every way of finding peers answers. One file each beside this one; the loop is index.ts. */

/** A node that may be there. */
export interface FoundNode {
  /** Its name, `name@host`, where the source knows it. */
  readonly name?: string;
  /** Host name or address to dial. */
  readonly host: string;
  /** Link port, where the source knows it; else one of the port range of that host. */
  readonly port?: number;
}

export interface Strategy {
  /**
   * All nodes that should be there now, this one included or not, in any order. Rejects when the source
   * cannot be asked. How often it is asked, time-outs and back-off are not its concern.
   */
  find(): Promise<readonly FoundNode[]>;
}
