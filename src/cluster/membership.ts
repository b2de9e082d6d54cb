/**
 * Who this node is and who the members are, kept on disk: nothing that depends on a change is done
 * before the change is stored. Every node is the authority for its own entry, and stamps it anew at
 * each start.
 */
import type { HybridClock } from "../lib/hlc.js";
import type { Log } from "../lib/log.js";
import type { Random } from "../lib/random.js";
import type { StateFile } from "../store/state-file.js";
import { noToken } from "./context.js";
import type { Identity } from "./handshake.js";
import { type ClusterState, MemberList, type MergeConflict } from "./member-list.js";
import type { Member } from "./wire/messages.js";

export interface MembershipOptions {
  readonly name: string;
  /** Host and port under which peers reach this node. */
  readonly address: () => { readonly host: string; readonly port: number };
  readonly wallMs: () => number;
  readonly stamps: HybridClock;
  readonly random: Random;
  readonly log: Log;
  readonly stateFile: StateFile<ClusterState>;
  /** The list has changed: these entries are new or different. */
  readonly onChanged: (changed: readonly Member[]) => void;
}

export class Membership {
  readonly counters = { saveErrors: 0 };
  id = "";
  incarnation = 0;
  leftStamp = 0;
  private list = new MemberList([]);
  /** Other data directories that run under the name of a member: by name, since when. */
  private readonly strangers = new Map<string, { readonly id: string; readonly sinceMs: number }>();

  constructor(private readonly options: MembershipOptions) {}

  /** Loads the state, or begins a new one, once. Rejects when it is there and cannot be read. */
  async load(): Promise<void> {
    if (this.id !== "") return;
    const { stateFile, log, random, stamps, wallMs } = this.options;
    const { value, damaged } = await stateFile.load();
    if (damaged !== null) {
      log.error({ ...damaged }, "the cluster state was damaged and is set aside: join again");
    }
    this.id = value?.id ?? random.bytes(16).toString("hex");
    this.incarnation = Math.max((value?.incarnation ?? 0) + 1, Math.floor(wallMs()));
    this.leftStamp = value?.leftStamp ?? 0;
    this.list = new MemberList(value?.members ?? []);
    for (const member of this.list.all()) stamps.observe(member.stamp);
  }

  /** Stamps our own entry and stores the list. Rejects when the disk does not take it. */
  async announceSelf(): Promise<void> {
    this.list.set(this.ownEntry("in"));
    await this.store();
  }

  identity(token: Buffer = noToken): Identity {
    const { name, address, wallMs } = this.options;
    const { id, incarnation } = this;
    return { incarnation, wallMs: Math.floor(wallMs()), id, token, name, ...address() };
  }

  get(name: string): Member | undefined {
    return this.list.get(name);
  }

  /** One entry a name, those that left or were removed too. */
  all(): Member[] {
    return this.list.all();
  }

  /** What other nodes must hear of. */
  everything(): Member[] {
    return this.list.everything();
  }

  /** The entry of one data directory under that name. */
  entry(name: string, id: string): Member | undefined {
    return this.list.entry(name, id);
  }

  /** Every other member that neither left nor was removed. */
  others(): Member[] {
    return this.list.present().filter((member) => member.name !== this.options.name);
  }

  conflict(theirs: readonly Member[]): MergeConflict | null {
    return this.list.conflict(theirs);
  }

  /** Takes the newer entries of a peer's list. Our own entry is ours: only `removed` is believed. */
  merge(theirs: readonly Member[]): void {
    for (const member of theirs) this.options.stamps.observe(member.stamp);
    const taken = this.list.merge(theirs);
    const { name } = this.options;
    const ours = taken.find((member) => member.name === name && member.id === this.id);
    if (ours !== undefined && !this.isRemoval(ours)) this.list.set(this.ownEntry("in"));
    if (taken.length > 0) this.changed(taken);
  }

  /** Does this entry say that this very node was removed? */
  isRemoval(entry: Member): boolean {
    return entry.name === this.options.name && entry.id === this.id && entry.status === "removed";
  }

  /** A node runs under this name, with that data directory. If it is not the member's, the member has lost its data. */
  met(name: string, id: string): void {
    const member = this.list.get(name);
    if (member?.status !== "in" || this.strangers.get(name)?.id === id) return;
    if (member.id === id) this.strangers.delete(name);
    else this.strangers.set(name, { id, sinceMs: this.options.wallMs() });
  }

  /** Members under whose names another data directory runs, and since when, in wall-clock milliseconds. */
  lost(): { readonly name: string; readonly sinceMs: number }[] {
    const found: { name: string; sinceMs: number }[] = [];
    for (const [name, { id, sinceMs }] of this.strangers) {
      const member = this.list.get(name);
      if (member?.status === "in" && member.id !== id) found.push({ name, sinceMs });
      else this.strangers.delete(name);
    }
    return found;
  }

  /** Takes a joiner in, whatever was known of its name before (conflicts were refused). */
  welcome(joiner: Member): void {
    this.set({ ...joiner, status: "in", stamp: this.options.stamps.next() });
  }

  /** Marks another member as left or removed. */
  mark(name: string, status: "left" | "removed", stamp = this.options.stamps.next()): void {
    const member = this.list.get(name);
    // A node that left and came back may still be quoted with the stamp at which it left.
    if (member?.status !== "in" || stamp <= member.stamp) return;
    this.set({ ...member, status, stamp });
  }

  /** Our entry as others are told when we leave. */
  ownLeaving(): Member {
    this.leftStamp = this.options.stamps.next();
    return { ...this.ownEntry("left"), stamp: this.leftStamp };
  }

  /** This node was removed: peers that have not heard of it are told that it is gone. */
  async wasRemoved(): Promise<void> {
    this.leftStamp = this.options.stamps.next();
    await this.reset(false);
  }

  /** Forgets all others: a cluster of one. With `newId` as a node that nobody has met. */
  async reset(newId: boolean): Promise<void> {
    const gone = this.others().map((member) => ({ ...member, status: "left" as const }));
    if (newId) this.id = this.options.random.bytes(16).toString("hex");
    this.list.reset(this.ownEntry("in"));
    this.options.onChanged(gone);
    await this.store();
  }

  /** Makes the list durable. Rejects when the disk does not take it. */
  async store(): Promise<void> {
    const { id, incarnation, leftStamp } = this;
    await this.options.stateFile.save({
      id,
      incarnation,
      leftStamp,
      members: this.list.everything(),
    });
  }

  private set(member: Member): void {
    this.list.set(member);
    this.changed([member]);
  }

  private changed(members: readonly Member[]): void {
    this.store().catch((error: unknown) => {
      this.counters.saveErrors++;
      this.options.log.error({ error: String(error) }, "the members could not be stored");
    });
    this.options.onChanged(members);
  }

  private ownEntry(status: Member["status"]): Member {
    const { name, address, stamps } = this.options;
    const { id, incarnation } = this;
    return { name, id, incarnation, status, stamp: stamps.next(), ...address() };
  }
}
