/** Which wills had to come, which might, and which might not. */
import type { Crash, Cut, WillStory } from "./story.js";
import type { Stay } from "./stay.js";
import type { Watcher } from "./watcher.js";

/** What a client and a node see of each other's ends differs by less. */
const noticedMs = 300;
/** A silent node is known to be down, and one that is back is up again. */
const downMs = 5_000;
/** Bytes are on their way for so long at most: what a client does later may be seen first at another node. */
const wayMs = 100;
const never = Number.POSITIVE_INFINITY;

/** Throws with the seed, the last events and the first difference found. */
export async function checkWills(story: WillStory): Promise<void> {
  const throwFirst = (found: Iterable<string>): void => {
    for (const fault of found) story.world.check(false, () => fault);
  };
  throwFirst(livingFaults(story));
  await story.endAll();
  throwFirst(faults(story));
  await story.restartAll();
  throwFirst(faults(story));
}

/** Whose will was published is not connected any more: its node closes it when it hears of that. */
function* livingFaults({ mortals, watchers }: WillStory): Iterable<string> {
  for (const stay of mortals.flat()) {
    const hasCome = watchers.some((watcher) => watcher.times(stay.will) > 0);
    if (hasCome && stay.state === "online") yield `${stay.will} has come, and its client is online`;
  }
}

function* faults(story: WillStory): Iterable<string> {
  for (const { faults: own } of story.watchers) for (const fault of own) yield fault;
  const hasTimeouts = story.nodes.some(({ lives }) =>
    lives.some(({ cluster }) => cluster.directory.counters.takeoverTimeouts > 0),
  );
  for (const stays of story.mortals) {
    for (const stay of stays) {
      const { least, most, why } = due(story, stays, stay);
      for (const watcher of story.watchers) {
        const times = watcher.times(stay.will);
        const atMost = mayRepeat(story, watcher, stay) ? never : most;
        if (times < least || times > atMost) {
          yield `${watcher.clientId} got "${stay.will}" ${times} times: ${why} (${inWords(stay)})`;
        }
      }
      if (!hasTimeouts) yield* orderFaults(story, stays, stay);
    }
  }
}

interface Due {
  readonly least: number;
  readonly most: number;
  readonly why: string;
}

/** How often the will has to come. */
function due(story: WillStory, stays: readonly Stay[], stay: Stay): Due {
  const { qos, messageExpirySeconds } = stay.options;
  const verdict = verdictOf(story, stays, stay);
  if (verdict === "must not") return { least: 0, most: 0, why: "it is not due" };
  const isWell = story.crashes.length + story.cuts.length === 0;
  const mayBeLost = (qos === 0 || messageExpirySeconds !== null) && !isWell;
  const least = verdict === "must" && !mayBeLost ? 1 : 0;
  return { least, most: 1, why: verdict === "must" ? "it is due" : "once at most" };
}

/** By the rules of MQTT and of nodes that die, as far as a client can tell. */
function verdictOf(
  story: WillStory,
  stays: readonly Stay[],
  stay: Stay,
): "must" | "must not" | "may" {
  const { connectedMs, askedMs, endedMs, end, delayMs } = stay;
  if (connectedMs === never) return askedMs === never ? "must not" : "may";
  const later = stays.filter(({ options }) => options.number > stay.options.number);
  const asked = later.filter((one) => one.askedMs !== never);
  const next = asked.find((one) => one.connectedMs !== never);
  const { cuts, crashes } = story;
  if (end === "goodbye") {
    const isSure =
      // A CONNECT that overtakes DISCONNECT, or its own successor, displaces the connection.
      !asked.some((one) => one.askedMs < endedMs + wayMs) &&
      !isOvertaken(story, stays, stay) &&
      !anyCrash(crashes, endedMs - noticedMs, endedMs + noticedMs) &&
      !anyCut(cuts, askedMs, endedMs + noticedMs);
    return isSure ? "must not" : "may";
  }
  const heardMs = next?.connectedMs ?? never;
  // While nobody may speak for a silent node, the will is void when its client is back, be it with a CONNECT that it did not wait for.
  const isAlone = asked.length === 0 && !stays.some((one) => isUnanswered(one));
  const untilMs = Math.min(heardMs, endedMs + delayMs + downMs);
  if (!isAlone && anyCut(cuts, askedMs, untilMs)) return "may";
  if (delayMs === 0) return "must";
  if (stays.some((one) => countsAsLater(cuts, one, stay))) return "may";
  if (isOvertaken(story, stays, stay)) return "may";
  const dueMs = endedMs + delayMs;
  const isQuiet = !anyCrash(crashes, askedMs - downMs, dueMs + downMs);
  const lateMs = isQuiet ? noticedMs : 2 * downMs;
  const [first] = asked;
  if (first === undefined || first.askedMs > dueMs + lateMs) return "must";
  if (next === undefined || first !== next || heardMs > dueMs - noticedMs) return "may";
  if (!next.options.cleanStart && next.version === 5) return "must not";
  // The session ends, and with it the delay.
  return isQuiet && next.options.cleanStart ? "must" : "may";
}

/** A CONNECT that was given up and is granted last: its client is back, as far as the broker can tell. */
function isOvertaken(
  { crashes }: WillStory,
  stays: readonly Stay[],
  { askedMs, endedMs }: Stay,
): boolean {
  const claimMs = anyCrash(crashes, askedMs - downMs, endedMs) ? downMs : wayMs;
  return stays.some(
    (one) => isUnanswered(one) && one.askedMs < askedMs && one.endedMs + claimMs > askedMs,
  );
}

/** On two sides of a cut the clocks of the nodes say which of two connections is the later one. */
function countsAsLater(cuts: readonly Cut[], one: Stay, stay: Stay): boolean {
  if (one.connectedMs > stay.askedMs || one.node === stay.node) return false;
  return cuts.some(
    ({ fromMs, toMs }) => fromMs <= one.connectedMs && toMs + downMs >= stay.askedMs,
  );
}

/** At QoS 1 a watcher whose node died may get again what it had. */
function mayRepeat({ crashes }: WillStory, watcher: Watcher, { options, will }: Stay): boolean {
  if (options.qos !== 1 || watcher.times(will) === 0) return false;
  return crashes.some(({ node }) => node === watcher.node);
}

/** A will never comes after what a successor of its connection has published. */
function* orderFaults(story: WillStory, stays: readonly Stay[], stay: Stay): Iterable<string> {
  const [watcher] = story.watchers;
  if (watcher === undefined || stay.connectedMs === never || stay.options.qos === 0) return;
  const willMs = watcher.firstMs(stay.will);
  if (willMs === never || anyCut(story.cuts, stay.askedMs, willMs)) return;
  const { endedMs } = stay;
  const near = story.crashes.filter(({ atMs }) => atMs > endedMs - 1000 && atMs < willMs);
  // A node that dies while it publishes a will does so when it is back.
  if (near.length > 1 || anyCrash(near, endedMs - wayMs, endedMs + wayMs)) return;
  for (const other of stays) {
    if (other.options.number <= stay.options.number) continue;
    const hereMs = watcher.firstMs(other.marker);
    // Others had ended before: their wills were on their way.
    const isDisplaced = other.askedMs <= endedMs;
    if (isDisplaced && hereMs < willMs) {
      yield `"${stay.will}" came after "${other.marker}" (${inWords(stay)})`;
    }
  }
}

const isUnanswered = ({ askedMs, connectedMs }: Stay): boolean =>
  askedMs !== never && connectedMs === never;

const anyCrash = (crashes: readonly Crash[], fromMs: number, toMs: number): boolean =>
  crashes.some(({ atMs }) => atMs >= fromMs && atMs <= toMs);

const anyCut = (cuts: readonly Cut[], fromMs: number, toMs: number): boolean =>
  cuts.some((cut) => cut.fromMs <= toMs && cut.toMs + downMs >= fromMs);

function inWords({ node, askedMs, connectedMs, endedMs, end, options }: Stay): string {
  const { qos, expirySeconds, delaySeconds, cleanStart } = options;
  return (
    `at ${node.name}, QoS ${qos}, session expiry ${expirySeconds} s, delay ${delaySeconds} s, clean ${cleanStart}, asked at ` +
    `${askedMs.toFixed(1)} ms, connected at ${connectedMs.toFixed(1)} ms, ${end} at ${endedMs.toFixed(1)} ms`
  );
}
