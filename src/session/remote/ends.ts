/**
 * All channels that begin or end at this node: connections here whose sessions live elsewhere (near ends), and sessions here
 * whose clients are connected elsewhere (far ends). A near end begins with a claim that the directory has granted;
 * both ends of a channel are gone when its link is.
 */
import type { ChannelLink, ChannelUser, Channels } from "../../cluster/channels.js";
import type { Directory, SessionPlace } from "../../cluster/directory-types.js";
import type { PeerState } from "../../cluster/failure-detector.js";
import type { Services } from "../../cluster/services.js";
import { WireError } from "../../cluster/wire/frames.js";
import type { Clock } from "../../lib/clock.js";
import type { Log } from "../../lib/log.js";
import { ReasonCode } from "../../protocol/reason-codes.js";
import type { SessionHost } from "../host.js";
import type { PullOutcome, SizeLimits } from "../move/incoming.js";
import { type ConnectOutcome, noSession, type Opening } from "../opening.js";
import type { Session } from "../session.js";
import {
  type AttachRecord,
  decodeAttach,
  decodeDiscard,
  discardEnded,
  discardMoved,
  discardRefused,
  discardService,
  encodeAttach,
  encodeDiscard,
} from "./attach-record.js";
import { type FarHost, RemoteChannel } from "./far.js";
import { type AttachAnswer, movedReason, type NearHost, RemoteSession } from "./near.js";
import { isOfFarEnd, Kind } from "./records.js";

/** What is used of the cluster. */
export interface RemotePort {
  readonly channels: Channels;
  readonly services: Pick<Services, "offer">;
  ask(node: string, service: string, body: Uint8Array): Promise<Uint8Array | null>;
  state(node: string): PeerState;
}

/** What is used of the session layer. */
export interface EndsHost extends SessionHost {
  /** Null: sessions of dead nodes wait for them, and their clients get new ones. */
  readonly adoptions: object | null;
  get(clientId: string): Session | undefined;
  /** Brings a session here; null: sessions never move. */
  pull(clientId: string, from: string, limits: SizeLimits | null): Promise<PullOutcome> | null;
  /** The session is to be opened at this node after all. */
  openHere(opening: Opening): void;
  /** Claims once more, as the session is elsewhere. */
  claimAgain(opening: Opening): void;
  /** The connection is not attached: the directory hears what is here. */
  released(opening: Opening): void;
  /** A connection at another node takes up the session that is here; `noSession` when there is none. */
  openFor(opening: Opening): void;
  /** Calls back when it is known whether the session of that client id stays here; `hasGone`: it is elsewhere now. */
  settle(clientId: string, done: (hasGone: boolean) => void): void;
  detach(session: Session, channel: RemoteChannel, willDue: boolean, forServer: boolean): void;
  whenWillAccepted(done: () => void): void;
  /** Ends the session, if there is one; calls back when that is durable. */
  discard(clientId: string, done: () => void): void;
  /** A session that has moved here and waits for this connection of its client; null: there is none. */
  arrived(clientId: string, epoch: number): Session | null;
  /** That connection takes it up where it left off. */
  continue(session: Session, opening: Opening): void;
}

export interface EndsParts {
  readonly port: RemotePort;
  readonly directory: Pick<Directory, "attached" | "released">;
  readonly clock: Clock;
  readonly log: Log;
  /** Sessions here whose clients may be connected elsewhere. */
  readonly channelsMax: number;
  readonly window: number;
  /** Where sessions are when their clients come back elsewhere: `session` of the settings. */
  readonly placement: Placement;
}

export interface Placement {
  readonly placement: "follow" | "stay";
  readonly move_messages: number;
  readonly move_bytes: number;
}

/** How long a node that is up may be out of reach until a CONNECT for a session of its is refused. */
const reachMs = 5_000;
const retryMs = 50;
/** A move that takes longer is not waited for: the client reaches its session where it is. */
const followMs = 2_000;
/** A will of a session that ends for its successor is waited for so long: on the smaller side of a cut it waits itself. */
const willMs = 2_000;
/** Until the home is asked anew where a session is, as it does not agree that the node is down. */
const reclaimMs = 250;

/** The ends of one link, by number. */
interface LinkEnds {
  readonly near: Map<number, RemoteSession>;
  readonly far: Map<number, RemoteChannel>;
}

export class RemoteEnds implements ChannelUser, NearHost, FarHost {
  readonly counters = {
    nearAttached: 0,
    farAttached: 0,
    /** CONNECTs for sessions of nodes that are down: they got new ones. */
    ownersDown: 0,
    /** CONNECTs for sessions of nodes that are up and could not be reached. */
    ownersOutOfReach: 0,
    discarded: 0,
    /** Attaching met a session that had moved. */
    moved: 0,
    /** Connections here that went on with their sessions at another node, as those had moved there. */
    followed: 0,
    /** Refused because of `limits.channels`. */
    refusedFull: 0,
    /** Connections here closed because the link to their session's node, or that node, was gone. */
    nearLost: 0,
    /** Sessions here whose client's node was gone. */
    farLost: 0,
    publishesRefused: 0,
    bugs: 0,
  };
  /** Called when a publish was refused that its MQTT 3 client cannot be told of. */
  withheld: () => void = () => undefined;
  readonly window: number;
  private readonly byLink = new Map<ChannelLink, LinkEnds>();
  /** The latest connection here of each client id. */
  private readonly nearById = new Map<string, RemoteSession>();
  /** Client ids whose sessions were too large to move while they connected. */
  private readonly large = new Set<string>();
  private farCount = 0;

  constructor(
    readonly sessions: EndsHost,
    private readonly parts: EndsParts,
  ) {
    this.window = parts.window;
    parts.port.channels.attach(this);
    parts.port.services.offer(discardService, (_peer, body, reply) => {
      const asked = decodeDiscard(body);
      if (asked === null) reply(null);
      else this.onDiscard(asked.clientId, asked.epoch, reply);
    });
  }

  /** Connections here whose sessions live elsewhere. */
  get nearSize(): number {
    return this.nearById.size;
  }

  /** Sessions here whose clients are connected elsewhere. */
  get farSize(): number {
    return this.farCount;
  }

  /** How many there are of each kind. */
  get sizes(): { readonly near: number; readonly far: number } {
    return { near: this.nearById.size, far: this.farCount };
  }

  /** The connection here of a client id whose session lives elsewhere. */
  near(clientId: string): RemoteSession | undefined {
    const near = this.nearById.get(clientId);
    return near?.isAttached ? near : undefined;
  }

  *allNear(): Iterable<RemoteSession> {
    for (const near of this.nearById.values()) if (near.isAttached) yield near;
  }

  *allFar(): Iterable<RemoteChannel> {
    for (const { far } of this.byLink.values()) yield* far.values();
  }

  /** Gets a connection its session, which the directory has found at another node. */
  fetch(opening: Opening, place: SessionPlace): void {
    const deadlineMs = this.parts.clock.monotonicMs() + reachMs;
    this.tryFetch(opening, place, deadlineMs);
  }

  /**
   * A connection here goes on with its session, which has moved to `node`: it is told to close when it cannot. Null: there
   * is no link to that node.
   */
  goOn(opening: Opening, node: string): RemoteSession | null {
    const link = this.parts.port.channels.to(node);
    return link === null ? null : this.attach(opening, link);
  }

  /** Ends the session of a connection here, at an operator's wish. False: its node could not be asked. */
  async endFar({ node, clientId, epoch }: RemoteSession): Promise<boolean> {
    const body = encodeDiscard(clientId, epoch);
    const reply = await this.parts.port.ask(node, discardService, body);
    return reply?.[0] === discardEnded[0];
  }

  /** Closes all connections at other nodes whose sessions are here, as this node stops. */
  close(): void {
    for (const far of [...this.allFar()]) far.close(ReasonCode.UseAnotherServer);
  }

  onEntry(
    link: ChannelLink,
    channel: number,
    kind: number,
    bytes: Buffer,
    start: number,
    end: number,
  ): void {
    this.sessions.turn.refresh();
    if (kind === Kind.attach) this.onAttach(link, channel, decodeAttach(bytes, start, end));
    else if (isOfFarEnd(kind)) {
      this.byLink.get(link)?.near.get(channel)?.onEntry(kind, bytes, start, end);
    } else this.byLink.get(link)?.far.get(channel)?.onEntry(kind, bytes, start, end);
  }

  onRelieved(link: ChannelLink): void {
    for (const far of this.byLink.get(link)?.far.values() ?? []) far.onRelieved();
  }

  onLost(link: ChannelLink): void {
    const ends = this.byLink.get(link);
    if (ends === undefined) return;
    this.sessions.turn.refresh();
    this.byLink.delete(link);
    this.farCount -= ends.far.size;
    for (const far of ends.far.values()) {
      this.counters.farLost++;
      far.onLost();
    }
    for (const near of ends.near.values()) {
      if (near.isAttached) this.counters.nearLost++;
      near.onLost();
    }
  }

  onAnswer(near: RemoteSession, answer: AttachAnswer): void {
    const { opening } = near;
    if (answer.kind === "attached") {
      this.onAttached(near);
      return;
    }
    this.forget(near);
    if (opening.continues !== undefined) {
      opening.channel.close(reasonToLeave(answer));
      this.parts.directory.released(near.clientId, near.epoch, false);
      return;
    }
    switch (answer.kind) {
      case "lost":
        // That node, or those who speak for it, may publish its will: this connection ends.
        if (opening.request.will !== null) {
          this.giveUp(opening, ReasonCode.ServerUnavailable);
          return;
        }
        this.parts.clock.setTimer(retryMs, () => this.fetch(opening, placeOf(near.node)));
        return;
      case "moved":
        this.counters.moved++;
        this.sessions.claimAgain(opening);
        return;
      case "refused":
        if (answer.reason === noSession) this.sessions.openHere(opening);
        else this.giveUp(opening, answer.reason);
        return;
    }
  }

  onMoved(near: RemoteSession): void {
    this.forget(near);
  }

  onOver(end: RemoteSession | RemoteChannel): void {
    if (end instanceof RemoteChannel) {
      const far = this.byLink.get(end.link)?.far;
      if (far?.delete(end.number)) this.farCount--;
      return;
    }
    this.forget(end);
    const { clientId, node, epoch } = end;
    this.parts.directory.released(clientId, epoch, false);
    // It can take its time now.
    if (this.large.delete(clientId)) void this.sessions.pull(clientId, node, null);
  }

  detach(far: RemoteChannel, session: Session, willDue: boolean, forServer: boolean): void {
    this.sessions.detach(session, far, willDue, forServer);
  }

  whenDetached(session: Session, done: () => void): void {
    this.sessions.whenWillAccepted(() => {
      // What is on its way to another node is detached when it stays, and lives on there if not.
      this.sessions.settle(session.clientId, () => session.whenDurable(done));
    });
  }

  onWithheld(): void {
    this.withheld();
  }

  isKept(session: Session): boolean {
    return session.isElsewhere || this.sessions.get(session.clientId) === session;
  }

  onBug({ record }: RemoteChannel, error: unknown): void {
    this.counters.bugs++;
    this.parts.log.error({ err: error, clientId: record.clientId }, "bug in a channel");
  }

  private tryFetch(opening: Opening, place: SessionPlace, deadlineMs: number): void {
    const { channel, request, epoch } = opening;
    const { port, clock } = this.parts;
    if (!channel.isOpen) {
      this.giveUp(opening, 0);
      return;
    }
    const { node } = place;
    const isDown = port.state(node) === "down";
    if (isDown && !place.isUp && this.sessions.adoptions !== null) {
      // Its home has waited for it long enough.
      this.giveUp(opening, ReasonCode.ServerUnavailable);
      return;
    }
    if (isDown && !place.isUp) {
      this.counters.ownersDown++;
      this.sessions.openHere({ ...opening, succeeds: node });
      return;
    }
    // The home sees it up, or saw it up a moment ago.
    if (isDown) {
      clock.setTimer(reclaimMs, () => this.sessions.claimAgain(opening));
      return;
    }
    const again = (): void => {
      if (clock.monotonicMs() < deadlineMs) {
        clock.setTimer(retryMs, () => this.tryFetch(opening, place, deadlineMs));
        return;
      }
      this.counters.ownersOutOfReach++;
      this.giveUp(opening, ReasonCode.UseAnotherServer);
    };
    const link = port.channels.to(node);
    if (link === null) again();
    else if (!request.clean) this.follow(opening, link, () => this.fetch(opening, place));
    else {
      void port.ask(node, discardService, encodeDiscard(request.clientId, epoch)).then((reply) => {
        this.sessions.turn.refresh();
        if (reply === null) again();
        else this.onDiscarded(opening, reply[0] ?? 0);
      });
    }
  }

  /** Moves the session here, or else attaches to it where it is. */
  private follow(opening: Opening, link: ChannelLink, again: () => void): void {
    const { clock, placement } = this.parts;
    const { clientId } = opening.request;
    const limits = { messages: placement.move_messages, bytes: placement.move_bytes };
    const pulled =
      placement.placement === "follow" && this.sessions.pull(clientId, link.node, limits);
    if (!pulled) {
      this.attach(opening, link);
      return;
    }
    let isDecided = false;
    const decide = (hasCome: boolean): void => {
      clock.clearTimer(timer);
      if (isDecided) return;
      isDecided = true;
      this.sessions.turn.refresh();
      if (!opening.channel.isOpen) this.giveUp(opening, 0);
      else if (hasCome) this.sessions.openHere(opening);
      else if (this.parts.port.channels.to(link.node) !== link) again();
      else this.attach(opening, link);
    };
    const timer = clock.setTimer(followMs, () => decide(false));
    void pulled.then((outcome) => {
      if ("refused" in outcome && outcome.isLarge) this.large.add(clientId);
      decide("messages" in outcome);
    });
  }

  private onDiscarded(opening: Opening, answer: number): void {
    if (answer === discardMoved[0]) this.sessions.claimAgain(opening);
    else if (answer !== discardEnded[0]) this.giveUp(opening, 0);
    else {
      this.counters.discarded++;
      this.sessions.openHere(opening);
    }
  }

  private attach(opening: Opening, link: ChannelLink): RemoteSession {
    const { request, epoch, channel } = opening;
    const { clientId, user, rules, expiryMs, receiveMaximum, will } = request;
    const near = new RemoteSession(opening, link, link.nextNumber(), this);
    this.nearById.set(clientId, near);
    this.endsOf(link).near.set(near.number, near);
    const { address, version, keepAliveSeconds, connectedAtMs, packetMax, takesMessages } =
      channel.info();
    const record = encodeAttach({
      ...{
        clientId,
        user,
        rules: rules === null ? null : [...rules],
        epoch,
        expiryMs,
        receiveMaximum,
        will,
        continues: opening.continues !== undefined,
      },
      ...{ address, version, keepAliveSeconds, connectedAtMs, takesMessages, window: this.window },
      // What is cut from a topic by a mount point is not known where packets are measured.
      packetMax: packetMax === Number.POSITIVE_INFINITY || takesMessages ? 0 : packetMax,
    });
    const at = link.room(near.number, Kind.attach, record.length, false);
    link.bytes.set(record, at);
    return near;
  }

  private onAttached(near: RemoteSession): void {
    this.counters.nearAttached++;
    const { channel, opening, clientId, epoch } = near;
    const { continues } = opening;
    if (!channel.isOpen) {
      // The client is gone; one that was not greeted never was there.
      near.detach(continues !== undefined);
      return;
    }
    if (continues === undefined) opening.done({ session: near, present: true });
    else {
      this.counters.followed++;
      channel.readOn();
    }
    this.parts.directory.attached(clientId, epoch);
  }

  /** There will be no session for this connection; `reason` as in `ConnectOutcome`. */
  private giveUp(opening: Opening, reason: number): void {
    if (opening.channel.isOpen) opening.done({ session: null, reason });
    this.sessions.released(opening);
  }

  private onDiscard(
    clientId: string,
    epoch: number,
    reply: (answer: Uint8Array | null) => void,
  ): void {
    this.sessions.settle(clientId, (hasGone) => {
      const session = this.sessions.get(clientId);
      if (hasGone) reply(discardMoved);
      else if (session !== undefined && session.epoch > epoch) reply(discardRefused);
      else this.discard(clientId, () => reply(discardEnded));
    });
  }

  /** `done` when the session has ended durably, and what its will, if that was due, is to come before may come. */
  private discard(clientId: string, done: () => void): void {
    let open = 2;
    const ready = (): void => {
      if (--open === 0) done();
    };
    this.sessions.discard(clientId, ready);
    let isWaited = true;
    const accepted = (): void => {
      clock.clearTimer(timer);
      if (isWaited) ready();
      isWaited = false;
    };
    const { clock } = this.parts;
    const timer = clock.setTimer(willMs, accepted);
    this.sessions.whenWillAccepted(accepted);
  }

  private onAttach(link: ChannelLink, number: number, record: AttachRecord): void {
    const ends = this.endsOf(link);
    if (ends.far.has(number)) throw new WireError("channel: a number twice");
    const far = new RemoteChannel(link, number, record, this);
    ends.far.set(number, far);
    this.farCount++;
    if (this.farCount > this.parts.channelsMax) {
      this.counters.refusedFull++;
      far.refuse(ReasonCode.ServerBusy);
      return;
    }
    const { clientId, user, rules, epoch, expiryMs, receiveMaximum, will } = record;
    const access = this.sessions.authorizer.accessOf({ clientId, user, rules });
    const request = { clientId, user, access, rules, clean: false, expiryMs, receiveMaximum, will };
    const done = (outcome: ConnectOutcome): void => {
      if (outcome.session === null) far.refuse(outcome.reason);
      else if (!outcome.session.isRemote) {
        this.counters.farAttached++;
        far.attached(outcome.session);
      }
    };
    const opening: Opening = { request, channel: far, epoch, done, absent: [], moves: 0 };
    if (record.continues) {
      this.onContinued(far, opening);
      return;
    }
    this.sessions.settle(clientId, (hasGone) => {
      const session = this.sessions.get(clientId);
      if (hasGone) far.refuse(movedReason);
      else if (session !== undefined && session.epoch > epoch) far.refuse(0);
      else this.sessions.openFor(opening);
    });
  }

  /** The connection of a session that has moved here comes after it. */
  private onContinued(far: RemoteChannel, opening: Opening): void {
    const session = this.sessions.arrived(opening.request.clientId, opening.epoch);
    if (session === null) {
      far.refuse(0);
      return;
    }
    far.attached(session);
    this.sessions.continue(session, { ...opening, continues: new Set() });
  }

  private forget(near: RemoteSession): void {
    this.byLink.get(near.link)?.near.delete(near.number);
    if (this.nearById.get(near.clientId) === near) this.nearById.delete(near.clientId);
  }

  private endsOf(link: ChannelLink): LinkEnds {
    let ends = this.byLink.get(link);
    if (ends === undefined) {
      ends = { near: new Map(), far: new Map() };
      this.byLink.set(link, ends);
    }
    return ends;
  }
}

/** With what a connection closes that cannot go on with its session at another node. */
function reasonToLeave(answer: AttachAnswer): number {
  const reason = answer.kind === "refused" ? answer.reason : -1;
  if (reason === 0) return ReasonCode.SessionTakenOver;
  return reason > 0 ? reason : ReasonCode.UseAnotherServer;
}

const placeOf = (node: string): SessionPlace => ({ node, isUp: true });
