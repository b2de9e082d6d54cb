/** What the holders of wills use of the rest of the node. */
import type { Clock } from "../lib/clock.js";
import type { NotedWill } from "./will-record.js";

/** What it uses of the cluster. */
export interface WillNetwork {
  readonly self: string;
  readonly clock: Clock;
  readonly incarnation: () => number;
  /** An epoch that others have given: this node gives none that is lower from now on. */
  observe(epoch: number): void;
  /** Every member that is up or suspect, this node included. */
  live(): readonly string[];
  /** What stands for the link to a peer that is up, another object for every link; null: it is not up. */
  linkOf(node: string): object | null;
  /** It left the cluster, or was removed. */
  isMember(node: string): boolean;
  /** Of a peer that is linked; 0: it is not. */
  incarnationOf(node: string): number;
  /** The process of that member is certainly no more. */
  isGone(node: string): boolean;
  /** May this node act for members that it does not hear? */
  isLargerSide(): boolean;
  /** How many members there are, this node included. */
  size(): number;
  /** Is every member up, or certainly dead? */
  isWhole(): boolean;
  /** Null: there is no link, or it broke. */
  ask(node: string, body: Uint8Array): Promise<Uint8Array | null>;
}

/** What it asks of the sessions. Wills are bytes. */
export interface WillHost {
  /** How long after the death of its session's node the will is due, in milliseconds. */
  delayMs(will: Uint8Array): number;
  /** Is it of QoS 0? */
  isOnceAtMost(will: Uint8Array): boolean;
  /** Publishes the will of a node that is dead, `owner`; `done` when it is accepted. */
  inherit(owner: string, will: Uint8Array, done: () => void): void;
  /** Has that client come here since that connection? */
  isBack(clientId: string, epoch: number): boolean;
  /** Has this node published that will or found it void, in an earlier process too? Only a node with a store knows. */
  hasLetGo(clientId: string, epoch: number): boolean;
  /** Others have settled the will of this connection here. */
  onSettled(clientId: string, epoch: number): void;
  /** Stores a will that another node has entrusted to this one, where there is a store: a new process of this one takes it up. */
  keep(will: Uint8Array): void;
  /** That is published or void, or another node has it. */
  unkeep(clientId: string, epoch: number): void;
  /** Stores what is known of another node's will, in place of what was, where there is a store. */
  note(noted: NotedWill): void;
  forgetNote(noted: Omit<NotedWill, "process">): void;
  /** Calls back when all that was noted, kept or dropped is durable; at once where nothing is stored, or can be at the moment. */
  whenNoted(done: () => void): void;
}
