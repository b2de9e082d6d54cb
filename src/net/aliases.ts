/**
 * Topic aliases towards one MQTT 5 client [MQTT5 3.3.2.3.4]. A topic gets one when it is first sent; once all are
 * given away, only when it is sent for the second time in a while, so that topics which come but once push
 * nobody out, and one that was not used lately goes. The table lives as long as the connection.
 */
import type { Qos } from "../protocol/publish.js";
import type { Message } from "../routing/message.js";
import type { Topic } from "../routing/topic.js";
import type { FrameEncoder } from "./frames.js";

/** What an alias takes in a packet, beside the topic's name. */
export const aliasBytes = 3;

export class OutgoingAliases {
  /** The alias for the topic of the last `choose`; 0: send its name alone. */
  alias = 0;
  /** The client knows the alias: the name can be left out. */
  isKnown = false;
  private readonly names: string[] = [];
  private readonly byName = new Map<string, number>();
  /** Topics seen once since all aliases were given away. */
  private readonly seen = new Set<string>();
  private readonly used: Uint8Array;
  private hand = 0;
  private chosen = "";

  /** `max`: the highest alias; at least 1. */
  constructor(private readonly max: number) {
    this.used = new Uint8Array(max + 1);
  }

  /** Decides how to send a topic; the result is in `alias` and `isKnown`. */
  choose(topic: Topic): void {
    const { name } = topic;
    this.alias = this.byName.get(name) ?? 0;
    this.isKnown = this.alias !== 0;
    if (this.isKnown) this.used[this.alias] = 1;
    else if (topic.bytes.length > aliasBytes && this.isWorthOne(name)) {
      this.alias = this.vacant();
      this.chosen = name;
    }
  }

  /** The packet with the new alias of the last `choose` is on its way: the client will know it. */
  confirm(): void {
    if (this.isKnown || this.alias === 0) return;
    const before = this.names[this.alias];
    if (before !== undefined) this.byName.delete(before);
    this.names[this.alias] = this.chosen;
    this.byName.set(this.chosen, this.alias);
    this.seen.delete(this.chosen);
    this.used[this.alias] = 1;
  }

  private isWorthOne(name: string): boolean {
    if (this.byName.size < this.max) return true;
    if (this.seen.has(name)) return true;
    if (this.seen.size >= this.max) this.seen.clear();
    this.seen.add(name);
    return false;
  }

  /** An alias that nobody has, or that was not used since the hand came by. */
  private vacant(): number {
    if (this.byName.size < this.max) return this.byName.size + 1;
    for (;;) {
      this.hand = (this.hand % this.max) + 1;
      if (this.used[this.hand] === 0) return this.hand;
      this.used[this.hand] = 0;
    }
  }
}

/** The packet of one PUBLISH, with an alias where there is one; null: it is longer than `packetMax` in any case. */
export function encodeAliased(
  frames: FrameEncoder,
  aliases: OutgoingAliases | null,
  packetMax: number,
  message: Message,
  version: number,
  qos: Qos,
  retain: boolean,
  dup: boolean,
  packetId: number,
  ids: readonly number[] | null,
): Buffer | null {
  if (aliases !== null) {
    aliases.choose(message.topic);
    const { alias } = aliases;
    const withName = !aliases.isKnown;
    const bytes = frames.encodeAlone(
      message,
      version,
      qos,
      retain,
      dup,
      packetId,
      ids,
      alias,
      withName,
    );
    if (bytes.length <= packetMax) {
      aliases.confirm();
      return bytes;
    }
  }
  // Without a new alias it is a little shorter.
  const bytes = frames.encodeAlone(message, version, qos, retain, dup, packetId, ids, 0, true);
  return bytes.length <= packetMax ? bytes : null;
}
