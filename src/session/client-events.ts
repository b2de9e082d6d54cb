/**
 * Tells who came and who went: publishes `$SYS/brokers/<node>/clients/<client id>/connected|disconnected`, while anybody
 * in the cluster subscribes to such topics; else it does nothing. Another node, the deputy, holds who is connected here
 * (presence-copies.ts) and says that they are gone when this node dies. So an arrival is published when the deputy holds it, and
 * a departure is forgotten by the deputy after it was published: one in the instant of a crash may come twice, none is lost.
 */
import { home } from "../cluster/rendezvous.js";
import type { Clock, Timer } from "../lib/clock.js";
import { Message } from "../routing/message.js";
import type { Router } from "../routing/router.js";
import type { ChannelInfo } from "./channel.js";
import {
  type Client,
  decodeAnswer,
  decodeReport,
  encodeReport,
  PresenceCopies,
  type Report,
  type ReportAnswer,
} from "./presence-copies.js";

/** What it uses of the cluster. */
export interface EventsCluster {
  readonly name: string;
  liveMembers(): string[];
  ask(node: string, service: string, body: Uint8Array): Promise<Uint8Array | null>;
}

export interface ClientEventsParts {
  readonly cluster: EventsCluster;
  readonly router: Pick<Router, "publish" | "topics" | "isSystemWatched" | "onSystemWatch">;
  readonly clock: Clock;
  readonly settings: {
    readonly events: boolean;
    readonly events_per_second: number;
    readonly events_waiting: number;
  };
  /** Of this process. Asked when it is first needed. */
  readonly incarnation: () => number;
  /** Those who are connected here now. */
  readonly clients: () => Iterable<Client>;
}

interface Change {
  readonly client: Client;
  readonly isHere: boolean;
  /** Null: nobody is told, for it was so before anybody asked. */
  readonly event: { readonly topic: string; readonly payload: string } | null;
}

interface Event {
  readonly topic: string;
  readonly payload: string;
}

/** The name of the service by which a node tells its deputy. */
export const presenceService = "presence";
const changesAtOnce = 500;
/** How often waiting events are looked at. */
const paceMs = 100;

export class ClientEvents {
  readonly counters = {
    /** Published. */
    events: 0,
    /** Not published: too many were waiting (`presence.events_waiting`). */
    dropped: 0,
    /** Refused by the store or by an outbox that is full. */
    refused: 0,
  };
  readonly copies: PresenceCopies;
  private changes: Change[] = [];
  private deputy: string | null = null;
  private asking = false;
  /** The deputy has to be told everybody. */
  private isStale = true;
  /** Departures that were published and that the deputy still holds. */
  private unconfirmed = false;
  private waiting: Event[] = [];
  private timer: Timer | undefined;
  private left: number;
  private stopped = false;

  constructor(private readonly parts: ClientEventsParts) {
    this.left = parts.settings.events_per_second;
    this.copies = new PresenceCopies((node, client) => this.gone(node, client));
    if (parts.settings.events) parts.router.onSystemWatch = () => this.onWatch();
  }

  /** Does anybody want to know? Asked at every change, before anything else is done. */
  get isWatched(): boolean {
    return this.parts.settings.events && this.parts.router.isSystemWatched;
  }

  /** Of events that wait for their turn. */
  get waitingCount(): number {
    return this.waiting.length;
  }

  connected(clientId: string, user: string, info: ChannelInfo): void {
    const { address, version, keepAliveSeconds, connectedAtMs } = info;
    this.change({ clientId, user }, true, "connected", {
      ...placeOf(address),
      ...{ proto_ver: version, keepalive: keepAliveSeconds, connected_at: connectedAtMs },
    });
  }

  /** `why`: as `ctl metrics` counts closed connections. */
  disconnected(clientId: string, user: string, why: string): void {
    const disconnected_at = this.parts.clock.wallMs();
    const reason = why.toLowerCase().replaceAll(" ", "_");
    this.change({ clientId, user }, false, "disconnected", { reason, disconnected_at });
  }

  /** The list of live members has changed, or what one of them is. */
  onMembers(): void {
    if (this.isWatched) this.tellSoon();
  }

  /** A node is down: who was connected there is not any more. */
  onDown(node: string): void {
    this.copies.onDown(node);
    this.onMembers();
  }

  /** A node is no member any more: its clients are its own affair. */
  onLeft(): void {
    this.copies.keep(new Set(this.parts.cluster.liveMembers()));
    this.onMembers();
  }

  /** Answers a node whose deputy this one is. */
  onReport(node: string, body: Uint8Array): Uint8Array | null {
    const report = decodeReport(body);
    if (report === null) return null;
    return Buffer.from(JSON.stringify(this.copies.take(node, report)));
  }

  stop(): void {
    this.stopped = true;
    this.parts.clock.clearTimer(this.timer);
  }

  /** Somebody has begun to watch, or nobody does any more. */
  private onWatch(): void {
    this.isStale = true;
    if (this.isWatched) this.tellSoon();
    else this.copies.clear();
  }

  private change(client: Client, isHere: boolean, kind: string, what: object): void {
    const event = this.eventOf(this.parts.cluster.name, client, kind, what);
    this.changes.push({ client, isHere, event });
    this.tellSoon();
  }

  private gone(node: string, client: Client): void {
    const disconnected_at = this.parts.clock.wallMs();
    const what = { reason: "node_down", disconnected_at };
    this.emit(this.eventOf(node, client, "disconnected", what));
  }

  private eventOf(node: string, { clientId, user }: Client, kind: string, what: object): Event {
    const username = user === "" ? null : user;
    const ts = this.parts.clock.wallMs();
    return {
      topic: `$SYS/brokers/${levelOf(node)}/clients/${levelOf(clientId)}/${kind}`,
      payload: JSON.stringify({ clientid: clientId, username, node, ...what, ts }),
    };
  }

  /** At the end of the turn, so that many changes are one question. */
  private tellSoon(): void {
    if (this.asking || this.stopped) return;
    this.asking = true;
    this.parts.clock.defer(() => void this.tell());
  }

  /** One question after the other, until the deputy knows all there is. */
  private async tell(): Promise<void> {
    while (!this.stopped && (this.choose() || this.changes.length > 0 || this.unconfirmed)) {
      const { deputy } = this;
      if (deputy === null || !this.isWatched) break;
      const told = this.isStale ? await this.tellAll(deputy) : await this.tellChanges(deputy);
      // There is no link: the list of members says soon who is asked next, and that one is told everybody.
      if (!told) break;
    }
    this.asking = false;
    // Nobody holds them; who watches shall know all the same.
    this.unconfirmed = false;
    this.publish(this.changes.splice(0));
  }

  /** Who of the live members is the deputy? True: it has to be told everybody. */
  private choose(): boolean {
    const { cluster } = this.parts;
    const others = cluster.liveMembers().filter((name) => name !== cluster.name);
    const deputy = others.length === 0 ? null : home(cluster.name, others);
    if (deputy !== this.deputy) this.isStale = true;
    this.deputy = deputy;
    return this.isStale && deputy !== null && this.isWatched;
  }

  /** False: there was no answer. */
  private async tellAll(deputy: string): Promise<boolean> {
    this.isStale = false;
    this.unconfirmed = false;
    const { clients, incarnation } = this.parts;
    // Those whose arrival waits to be published are told with the others.
    const all = [...clients()];
    for (let from = 0; from === 0 || from < all.length; from += changesAtOnce) {
      const begin = from === 0;
      const add = all.slice(from, from + changesAtOnce);
      const report = { incarnation: incarnation(), begin, add, remove: [] };
      const answer = await this.ask(deputy, report);
      if (answer === null) return false;
      if (begin && answer.wasGone) this.sayAgain(all);
    }
    return true;
  }

  /** This node was cut off, and others were told that its clients are gone. */
  private sayAgain(clients: readonly Client[]): void {
    const arriving = new Set(this.changes.map(({ client }) => client.clientId));
    for (const client of clients) {
      if (arriving.has(client.clientId)) continue;
      const what = { reason: "node_back" };
      this.emit(this.eventOf(this.parts.cluster.name, client, "connected", what));
    }
  }

  /** False: there was no answer. */
  private async tellChanges(deputy: string): Promise<boolean> {
    const batch = this.changes.splice(0, changesAtOnce);
    const sides = sidesOf(batch);
    const report = { incarnation: this.parts.incarnation(), begin: false, ...sides };
    const answer = await this.ask(deputy, report);
    if (answer?.again === true) this.isStale = true;
    this.unconfirmed = answer !== null && sides.remove.length > 0;
    this.publish(batch);
    return answer !== null;
  }

  /** Null: there is no answer, and may never be. */
  private async ask(deputy: string, report: Report): Promise<ReportAnswer | null> {
    const body = encodeReport(report);
    const bytes = await this.parts.cluster.ask(deputy, presenceService, body);
    const answer = bytes === null ? null : decodeAnswer(bytes);
    if (answer === null) this.isStale = true;
    return answer;
  }

  private publish(changes: readonly Change[]): void {
    for (const { event } of changes) if (event !== null) this.emit(event);
  }

  /** Publishes an event in its turn: so many a second, the others wait. */
  private emit(event: Event): void {
    if (this.left > 0 && this.waiting.length === 0) {
      this.send(event);
      if (this.timer === undefined) this.pace();
    } else if (this.waiting.length < this.parts.settings.events_waiting) this.waiting.push(event);
    else this.counters.dropped++;
  }

  private send({ topic, payload }: Event): void {
    this.left--;
    if (!this.isWatched) return;
    const { router } = this.parts;
    const bytes = Buffer.from(payload);
    const name = router.topics.internName(topic);
    const message = new Message(name, 1, false, "", bytes, 0, 0, 0, bytes.length);
    router.publish(message);
    if (message.refused === 0) this.counters.events++;
    else this.counters.refused++;
  }

  private pace(): void {
    const { clock, settings } = this.parts;
    this.timer = clock.setTimer(paceMs, () => {
      const { events_per_second: rate } = settings;
      this.timer = undefined;
      this.left = Math.min(rate, this.left + Math.max(1, (rate * paceMs) / 1000));
      const count = Math.min(this.waiting.length, Math.floor(this.left));
      for (const event of this.waiting.splice(0, count)) this.send(event);
      if (!this.stopped && (this.waiting.length > 0 || this.left < rate)) this.pace();
    });
  }
}

/** Those who are here after the changes and were not before, and the other way round. */
function sidesOf(changes: readonly Change[]): { add: Client[]; remove: Client[] } {
  const last = new Map(changes.map((change) => [change.client.clientId, change]));
  const add: Client[] = [];
  const remove: Client[] = [];
  for (const { client, isHere } of last.values()) (isHere ? add : remove).push(client);
  return { add, remove };
}

/** As one level of a topic: what would end it, or make a wildcard of it, is written as in an URL. */
function levelOf(name: string): string {
  return name.replace(/[%/+#]/g, (character) => {
    return `%${character.charCodeAt(0).toString(16).toUpperCase()}`;
  });
}

/** `host:port` taken apart; what is not of that form is all host. */
function placeOf(address: string): { ipaddress: string; sockport: number } {
  const match = /^(.*):(\d+)$/.exec(address);
  return { ipaddress: match?.[1] ?? address, sockport: Number(match?.[2] ?? 0) };
}
