/**
 * The try to adopt one session of a dead node: a claim in its partition there, then its state into the store of this node. *The
 * first claim that stands decides who may; the commit here is the switch.* Before it the try may come to nothing at any
 * step, and the session is still where it was.
 */
import { againOrigin, nameHere, originOf } from "../../routing/origins.js";
import type { Message } from "../../routing/message.js";
import type { Adoption } from "../../store/shared.js";
import type { Operation, Row, Store } from "../../store/store.js";
import { logPrefix, sessionPrefix } from "../journal/journal.js";
import { metaKey, type SessionMeta, subscriptionPrefix } from "../journal/meta.js";
import { type StoredSession, StoredSessions } from "../journal/stored-session.js";
import type { MoveOutcome } from "../move/moves.js";
import type { MoveNote } from "../move/notes.js";
import type { Session } from "../session.js";
import {
  type Claim,
  claimKey,
  claimOf,
  claimPrefix,
  encodeClaim,
  encodeVoid,
  highestOf,
  ownerOf,
} from "./claims.js";
import { giveLeft } from "./left-to-groups.js";
import { adoptedKey, encodeAdopted, type Former } from "./notes.js";
import { type AdoptionCounters, type AdoptionParts, lastKey } from "./parts.js";
import { Pending } from "./readdressing.js";
import { adoptionService, decodeAnswer, encodeQuestion } from "./wire.js";

export interface DeadName {
  readonly node: string;
  readonly dataId: string;
  readonly incarnation: number;
}

export interface TryHost {
  readonly parts: AdoptionParts;
  readonly counters: AdoptionCounters;
  placeOf(node: string): Adoption | null;
}

/** Above every number of an origin. */
const allNumbers = Number.MAX_SAFE_INTEGER;
const claimsMax = 1024;

export async function readClaims(store: Pick<Store, "read">, partition: string): Promise<Claim[]> {
  return claimsAmong(await store.read(partition, claimPrefix, claimsMax));
}

function claimsAmong(rows: readonly Row[]): Claim[] {
  return rows
    .filter(([key]) => key.startsWith(claimPrefix))
    .map(([key, value]) => claimOf(key, value));
}

/** It did not come about: another node has the session, or nobody can tell yet. */
class NotTaken extends Error {}

export class Try {
  /** Its write has begun: nobody can tell any more that it does not come. */
  isCommitting = false;
  readonly partition: string;
  id = 0;
  private isAborted = false;
  private readonly stored: StoredSessions;
  private mine = "";
  /** What the dead node's names for origins are here. */
  private readonly names = (name: string): string =>
    nameHere(name, this.of.node, this.host.parts.cluster.name);

  constructor(
    private readonly host: TryHost,
    private readonly of: DeadName,
    private readonly place: Adoption,
    readonly clientId: string,
  ) {
    this.partition = sessionPrefix + clientId;
    const { sessions, journals } = host.parts;
    this.stored = new StoredSessions(sessions, journals);
  }

  /** The session, committed here and held; null: it did not come. Rejects when the dead node's store cannot be reached. */
  async run(): Promise<Pending | null> {
    const { moves } = this.host.parts;
    let taken: Pending | null = null;
    moves.hold(this.clientId);
    try {
      taken = await this.take();
    } catch (error) {
      if (!(error instanceof NotTaken)) throw error;
      this.host.counters.givenUp++;
    } finally {
      if (taken === null) moves.release(this.clientId);
    }
    return taken;
  }

  /** Gives up, unless it is too late: then false. */
  abort(): boolean {
    if (!this.isCommitting) this.isAborted = true;
    return !this.isCommitting;
  }

  private async take(): Promise<Pending | null> {
    if (this.isHere) return null;
    await this.claim();
    if (this.isHere) await this.withdraw();
    const rows: Row[] = [];
    const stored = await this.stored.read(this.place.store, this.partition, (row) => {
      if (row[0].startsWith(logPrefix) || row[0].startsWith(subscriptionPrefix)) rows.push(row);
    });
    await this.resolve(stored);
    const { meta } = stored;
    const endsAt = meta?.endsAt ?? 0;
    const isOver = endsAt !== 0 && endsAt <= this.host.parts.clock.wallMs();
    if (meta === null || meta.expiryMs <= 0 || isOver) {
      if (meta !== null) await this.giveLeft(stored, 0);
      await this.deleteThere();
      return null;
    }
    const session = this.build(stored, meta);
    await this.publishAgain(session);
    this.check();
    const { node, dataId, incarnation } = this.of;
    const by = this.host.parts.cluster.name;
    const former: Former = { node, dataId, incarnation, by, id: this.id };
    const formers = [...(stored.adopted?.formers ?? []), former];
    await this.commit(session, rows, formers);
    return new Pending(session, stored.subscriptions, formers);
  }

  /** Another session of that client id has begun here. */
  private get isHere(): boolean {
    const { sessions } = this.host.parts;
    return sessions.get(this.clientId) !== undefined || sessions.isEnding(this.clientId);
  }

  /** @throws NotTaken another node has it, or may */
  private async claim(): Promise<void> {
    const { cluster } = this.host.parts;
    const { store } = this.place;
    const rows = await store.read(this.partition, claimPrefix, claimsMax);
    // Another one has adopted it already: a claim would only keep it from moving to that node some day.
    if (rows.length === 0) throw new NotTaken();
    const before = claimsAmong(rows);
    const owner = ownerOf(before);
    if (owner !== null && !(await this.isVoid(owner))) throw new NotTaken();
    cluster.observeStamp(highestOf(before));
    this.id = cluster.nextStamp();
    this.mine = claimKey(this.id, cluster.name);
    const claim = {
      kind: "put",
      key: this.mine,
      value: encodeClaim(cluster.name, this.id),
    } as const;
    await this.write([claim], this.id);
    for (;;) {
      const claims = await readClaims(store, this.partition);
      if (!claims.some(({ key, node }) => key === this.mine && node !== "")) throw new NotTaken();
      const first = ownerOf(claims);
      if (first?.key === this.mine) return;
      if (first === null || !(await this.isVoid(first))) await this.withdraw();
      else await this.void(first.key);
    }
  }

  /** @throws NotTaken always */
  private async withdraw(): Promise<never> {
    await this.void(this.mine);
    throw new NotTaken();
  }

  /** Is that claim one that nothing has come of, or ever will? */
  private async isVoid({ node, id }: Claim): Promise<boolean> {
    const { cluster } = this.host.parts;
    // Of an earlier process of this node: what it had committed was loaded.
    if (node === cluster.name) return true;
    if (!cluster.members.others().some(({ name }) => name === node)) return true;
    // One that came to nothing while the store was out of its reach: its node may not be the home any more.
    if (cluster.state(node) !== "down") return (await this.askOutcome(node, id)) === "not";
    const place = this.host.placeOf(node);
    if (place === null) return false;
    const { partition } = this;
    if (!(await this.fenceOff(place.store))) return false;
    return !(await hasMeta(place.store, partition));
  }

  /** Moves that were under way when the node died. @throws NotTaken nobody can tell yet what became of them */
  private async resolve(stored: StoredSession): Promise<void> {
    const { moving, moved } = stored;
    if (moving !== null && (await this.hasGone(moving))) {
      await this.giveLeft(stored, moving.nextSeq);
      await this.deleteThere();
      throw new NotTaken();
    }
    if (moved !== null) await this.settleOlder(moved);
  }

  private async hasGone({ node, id }: MoveNote): Promise<boolean> {
    const { cluster, moves } = this.host.parts;
    const { clientId, of } = this;
    let outcome: MoveOutcome = "open";
    if (node === cluster.name) outcome = moves.outcomeOf(of.node, clientId, id);
    else if (!cluster.members.others().some(({ name }) => name === node)) outcome = "not";
    else if (cluster.state(node) === "down") {
      const place = this.host.placeOf(node);
      if (place !== null) {
        const partition = this.partition;
        const isSure = await this.fenceOff(place.store);
        const found = isSure ? await this.stored.read(place.store, partition) : null;
        const isThere = found?.moved?.node === of.node && found.moved.id === id;
        if (found !== null) outcome = isThere ? "moved" : "not";
      }
    } else outcome = await this.askOutcome(node, id);
    if (outcome === "open") await this.withdraw();
    return outcome === "moved";
  }

  /** What has become of a try of that node to have the session from the dead one. */
  private async askOutcome(node: string, id: number): Promise<MoveOutcome> {
    const { clientId, of } = this;
    const question = encodeQuestion({ verb: "outcome", clientId, from: of.node, id });
    const body = await this.host.parts.cluster.ask(node, adoptionService, question);
    const answer = body === null ? null : decodeAnswer(body);
    return answer?.kind === "outcome" ? answer.outcome : "open";
  }

  /** The dead node had the session from another one, which may not know yet that it came. */
  private async settleOlder({ node, id }: MoveNote): Promise<void> {
    const { cluster, moves } = this.host.parts;
    const { clientId, of } = this;
    if (node === cluster.name) {
      await new Promise<void>((resolve) => moves.onSettled(clientId, of.node, id, resolve));
      return;
    }
    if (!cluster.members.others().some(({ name }) => name === node)) return;
    const place = cluster.state(node) === "down" ? this.host.placeOf(node) : null;
    if (place !== null) {
      // What is there goes first, with its own adopter.
      if (await hasMeta(place.store, this.partition)) await this.withdraw();
      return;
    }
    const question = encodeQuestion({ verb: "settled", clientId, by: of.node, id });
    const body = await cluster.ask(node, adoptionService, question);
    if (body === null || decodeAnswer(body)?.kind !== "settled") await this.withdraw();
  }

  /** What it has of share groups, from that number on, goes to other members. */
  private async giveLeft(stored: StoredSession, from: number): Promise<void> {
    const { host, partition, clientId, names } = this;
    const left = { store: this.place.store, partition, clientId, from, names };
    host.counters.redispatched += await giveLeft(host.parts, stored, left);
  }

  private build(stored: StoredSession, meta: SessionMeta): Session {
    const { cluster } = this.host.parts;
    cluster.observeStamp(meta.epoch);
    const session = this.stored.build(this.clientId, stored, meta, this.names);
    // Higher than every fence of the partition, there and here.
    session.epoch = cluster.nextStamp();
    // What its node had published it was given there.
    session.journal?.marks.restore(
      { name: this.of.node, incarnation: this.of.incarnation },
      allNumbers,
    );
    return session;
  }

  /** What the client had sent with QoS 2, and was not known to be accepted by all: before the switch, so that it is known then. */
  private async publishAgain(session: Session): Promise<void> {
    const messages: Message[] = [];
    for (const [, message] of session.openPublishes()) if (message !== null) messages.push(message);
    messages.sort((one, other) => one.identity - other.identity);
    await Promise.all(messages.map((message) => this.publishOne(session, message)));
  }

  private publishOne({ incoming }: Session, message: Message): Promise<void> {
    this.host.counters.republished++;
    const { router } = this.host.parts;
    const incarnation = message.origin?.incarnation ?? 0;
    message.origin = originOf(this.of.node + againOrigin, incarnation);
    return new Promise((resolve) => {
      const onAccepted = ({ refused, packetId }: Message): void => {
        if (refused >= 0x80) incoming.release(packetId);
        else incoming.accepted(packetId);
        resolve();
      };
      message.sink = { onAccepted };
      router.publish(message);
      if (message.pending === 0) onAccepted(message);
    });
  }

  /** @throws NotTaken the place is lost */
  private check(): void {
    if (this.place.isLost || this.isAborted) throw new NotTaken();
  }

  private async commit(
    session: Session,
    rows: readonly Row[],
    formers: readonly Former[],
  ): Promise<void> {
    this.isCommitting = true;
    const { sessions } = this.host.parts;
    session.journal?.noteAdopted(rows);
    session.journal?.note(adoptedKey, encodeAdopted({ formers: [...formers] }));
    await new Promise<void>((resolve) => session.whenDurable(resolve));
    if (session.journal?.isOver) throw new NotTaken();
    sessions.takeIn(session);
  }

  /** Takes a claim out. */
  private async void(key: string): Promise<void> {
    const fence = this.host.parts.cluster.nextStamp();
    await this.write([{ kind: "put", key, value: encodeVoid(fence) }], fence);
  }

  /** Nothing that the owner of the session's partition in that store has begun to write happens any more. */
  private async fenceOff(store: Store): Promise<boolean> {
    const { cluster } = this.host.parts;
    const { partition } = this;
    const fence = cluster.nextStamp();
    const key = claimKey(fence, cluster.name);
    const operations = [{ kind: "put", key, value: encodeVoid(fence) }] as const;
    const [failure] = await store.write([{ partition, fence, operations }]);
    return !failure;
  }

  private async deleteThere(): Promise<void> {
    await this.write([{ kind: "deleteRange", from: "", to: lastKey }]);
  }

  /** Into the dead node's partition. @throws NotTaken it is not ours, or not any more */
  private async write(
    operations: readonly Operation[],
    fence = this.host.parts.cluster.nextStamp(),
  ): Promise<void> {
    this.check();
    const { partition, place } = this;
    const [failure] = await place.store.write([{ partition, fence, operations }]);
    if (failure) throw new NotTaken();
  }
}

export async function hasMeta(store: Pick<Store, "read">, partition: string): Promise<boolean> {
  const [row] = await store.read(partition, metaKey, 1);
  return row?.[0] === metaKey;
}
