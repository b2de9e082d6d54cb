/**
 * A store in which the nodes of a cluster reach each other's partitions: what one of them left when it died, others adopt.
 * Each node holds a lease there while it lives; nobody adopts what belongs to a lease that lives. With the memory and lmdb
 * store there is none of this.
 */
import type { Store } from "./store.js";

/** What a node may do with the partitions of another one. */
export interface SharedStore {
  /**
   * Asks for what that incarnation of a node left. Null: it may not be adopted now, as its lease has not lapsed (and it is not
   * certainly dead), or it lives again, or waits to. `dataId`: of its data directory. `certainlyDead`: nothing listens where it
   * was, so its lease is not waited for. Resolves or, when the store cannot be reached, rejects within a deadline. Asked again
   * while this node has a place, it renews that one and gives another `Adoption` for it.
   */
  adopt(
    node: string,
    dataId: string,
    incarnation: number,
    certainlyDead: boolean,
  ): Promise<Adoption | null>;
  /** What a node has stored, to be looked at alone, whether it lives or not. */
  look(node: string): Pick<Store, "read">;
}

/** A place among those who adopt what one incarnation of a node left. It is renewed until `done`, or until it is lost. */
export interface Adoption {
  /**
   * The dead node's partitions. A write is `fenced` once the place is lost, and where a newer start of the node has written.
   * A write raises the fence of its partition over every write of the dead incarnation, one without an epoch too: even a write
   * without operations. Closing it does nothing.
   */
  readonly store: Store;
  /** The node lives again, or the store was out of reach for too long: nothing more may be taken. Final. */
  readonly isLost: boolean;
  /** Called once when the place is lost; at once when it is set after that. */
  onLost: () => void;
  /** All that this node will take is taken: the place is given back. Never rejects. May be called again. */
  done(): Promise<void>;
}

/** One start of a node with one data directory. */
export interface Holder {
  readonly node: string;
  readonly dataId: string;
  readonly incarnation: number;
}

/** `adopting`: who has a place among those that adopt what an earlier start left; the lease is not taken. */
export type TakeAnswer =
  | { readonly kind: "held" }
  | { readonly kind: "adopting"; readonly by: readonly string[] };

/** `adopted`: others have begun to adopt what this start left behind. `replaced`: a later start has the lease. */
export type RenewAnswer = "held" | "adopted" | "replaced";

/**
 * What is kept of each node's lease. Every call is atomic, may be repeated, and rejects within a deadline with an Error whose
 * message says why, when the store cannot be reached. Times are the store's own.
 */
export interface LeaseBook {
  /** For a start: takes the lease, whoever had it. `insists`: nobody gets a place, or keeps one, from now on. */
  take(holder: Holder, insists: boolean): Promise<TakeAnswer>;
  /** For another lease time. The id of its data directory may be another than before. */
  renew(holder: Holder): Promise<RenewAnswer>;
  /** The lease lapses now. */
  release(holder: Holder): Promise<void>;
  /** A place for `adopter`; the generation to write with, 0 when there is none to be had. */
  takePlace(of: Holder, adopter: string, certainlyDead: boolean): Promise<number>;
  /** Whether the place is still held, and for another lease time. */
  renewPlace(of: Holder, adopter: string): Promise<boolean>;
  giveBack(of: Holder, adopter: string): Promise<void>;
  /** The partitions of another node, to be written with the generation that `takePlace` gave. */
  storeOf(node: string, generation: number): Store;
}

/** What a node says that finds that others have adopted what it had. */
export const adoptedSentence =
  "other nodes took this one for dead and have adopted its sessions: it ends, and has to be started again";

/** How long a lease and a place live, and how often they are renewed. */
export interface LeaseTimes {
  readonly intervalMs: number;
  readonly leaseMs: number;
}

/** Who could not renew for so long, counted from when it asked, does nothing more that a lease is needed for. */
export function patienceMs({ intervalMs, leaseMs }: LeaseTimes): number {
  return leaseMs - intervalMs;
}
