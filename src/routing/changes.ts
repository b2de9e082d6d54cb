/**
 * Which match results a changed filter makes stale. A change is counted for the whole topic (an exact filter) or
 * for the first levels that stand before a filter's first wildcard; a topic's result is fresh while the sum of
 * the counts that concern it is what it was. Counts are shared where hashes meet, and by all topics below the same
 * levels: so when the sum differs, the last few changes are looked at one by one.
 */
import { type LevelScan, prefixLevels } from "./level-scan.js";
import type { Topic } from "./topic.js";

const slotCount = 1 << 14;
const slotMask = slotCount - 1;
/** Changes that are remembered one by one; looking at all of them costs about as much as a match. */
const lastMax = 16;

export class RouteChanges {
  /** How many there were. */
  total = 0;
  private readonly last: string[] = Array<string>(lastMax).fill("");
  /** Filters that begin with a wildcard concern every topic. */
  private everywhere = 0;
  /** Sums of counts stay exact: they are doubles, and only grow. */
  private readonly counts = new Float64Array(slotCount);

  /** The filter that was scanned has changed. */
  note(filter: LevelScan): void {
    this.last[this.total++ % lastMax] = filter.text;
    if (!filter.wild) this.bump(filter.hash);
    else {
      let named = 0;
      while (named < prefixLevels && isNamed(filter, named)) named++;
      if (named === 0) this.everywhere++;
      else this.bump(filter.prefixes[named - 1] as number); // one for each of the first levels
    }
  }

  /** The topic was scanned and matched just now. */
  remember(topic: Topic, { hash, prefixes }: LevelScan): void {
    const [first, second, third] = prefixes;
    topic.exactSlot = hash & slotMask;
    topic.slot1 = (first ?? 0) & slotMask;
    topic.slot2 = (second ?? 0) & slotMask;
    topic.slot3 = (third ?? 0) & slotMask;
    topic.stamp = this.stampOf(topic);
  }

  /** Is what a topic found as of generation `topic.generation` still right? */
  isFresh(topic: Topic): boolean {
    const stamp = this.stampOf(topic);
    if (topic.stamp === stamp) return true;
    if (this.total - topic.generation > lastMax) return false;
    for (let i = topic.generation; i < this.total; i++) {
      const filter = this.last[i % lastMax] as string; // the remainder is below its length
      if (filterMatches(filter, topic.name)) return false;
    }
    topic.stamp = stamp;
    return true;
  }

  private stampOf(topic: Topic): number {
    const { counts } = this;
    // The mask keeps every slot within the table.
    return (
      this.everywhere +
      (counts[topic.exactSlot] as number) +
      (counts[topic.slot1] as number) +
      (counts[topic.slot2] as number) +
      (counts[topic.slot3] as number)
    );
  }

  private bump(hash: number): void {
    const slot = hash & slotMask;
    this.counts[slot] = (this.counts[slot] as number) + 1;
  }
}

const isNamed = (filter: LevelScan, level: number): boolean =>
  level < filter.count - (filter.endsMany ? 1 : 0) && !filter.isPlus(level);

const slash = 0x2f;
const plus = 0x2b;
const many = 0x23;
const dollar = 0x24;

/** Does one filter match the topic name [MQTT-4.7]? Makes no strings. */
export function filterMatches(filter: string, topic: string): boolean {
  const first = filter.charCodeAt(0);
  // [MQTT-4.7.2-1]
  if (topic.charCodeAt(0) === dollar && (first === plus || first === many)) return false;
  let at = 0;
  for (let i = 0; i < filter.length; i++) {
    const code = filter.charCodeAt(i);
    if (code === many) return true;
    if (code === plus) {
      while (at < topic.length && topic.charCodeAt(at) !== slash) at++;
    } else if (at < topic.length && topic.charCodeAt(at) === code) at++;
    // "sport/#" also matches "sport" [MQTT-4.7.1-2].
    else return at === topic.length && code === slash && filter.charCodeAt(i + 1) === many;
  }
  return at === topic.length;
}
