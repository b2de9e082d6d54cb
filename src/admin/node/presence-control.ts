/**
 * Who is subscribed to a topic, in the whole cluster: each node answers for the sessions that live there (docs/wire.md,
 * service `subscribers`), and the answers are put together page by page, in the order of client ids.
 */
import { z } from "zod";
import type { Cluster } from "../../cluster/cluster.js";
import { Refusal } from "../../lib/refusal.js";
import { filterFault } from "../../protocol/topics.js";
import type { Entry } from "../../routing/leaf.js";
import type { Router } from "../../routing/router.js";
import type { Delivery } from "../../routing/targets.js";
import { type ClientEvents, presenceService } from "../../session/client-events.js";
import type { Sessions } from "../../session/sessions.js";
import type { PresenceControl, PresencePage, SubscriberInfo } from "../parts.js";

const service = "subscribers";
/** Of one answer: well below what a frame may have. */
const answerBytesMax = 1024 * 1024;
/** Filters that are named of one client. */
const filtersShown = 10;

const questionSchema = z.object({
  filter: z.string(),
  limit: z.int().min(1),
  after: z.string().nullable(),
});
type Question = z.output<typeof questionSchema>;

const answerSchema = z.object({
  total: z.int(),
  /** The last of a page that there was more behind. */
  cutAt: z.string().nullable(),
  items: z.array(
    z.object({
      ...{ clientId: z.string(), user: z.string(), node: z.string() },
      ...{ filters: z.array(z.string()), qos: z.int(), connected: z.boolean() },
    }),
  ),
});
type Answer = z.output<typeof answerSchema>;

export function presenceControl(
  cluster: Cluster,
  router: Router,
  sessions: Sessions,
): PresenceControl {
  const here = (question: Question): Answer => answerOf(cluster.name, router, sessions, question);
  cluster.services.offer(service, (_peer, body, reply) => {
    const question = parse(questionSchema, body);
    reply(question === undefined ? null : Buffer.from(JSON.stringify(here(question))));
  });
  return {
    subscribers: async (filter, limit, after) => {
      const fault = filterFault(filter);
      if (fault !== undefined) throw new Refusal(`"${filter}" is no topic and no filter: ${fault}`);
      const question = { filter, limit, after: after ?? null };
      const body = Buffer.from(JSON.stringify(question));
      const answers = [here(question)];
      const silent: string[] = [];
      const asked = cluster.members.others().map(async ({ name }) => {
        const reply = await cluster.ask(name, service, body);
        const answer = reply === null ? undefined : parse(answerSchema, reply);
        if (answer === undefined) silent.push(name);
        else answers.push(answer);
      });
      await Promise.all(asked);
      return merge(answers, limit, silent.sort());
    },
  };
}

/** Lets other nodes tell this one who is connected to them, and hears how they are. */
export function serveEvents(events: ClientEvents, cluster: Cluster, router: Router): void {
  cluster.services.offer(presenceService, (peer, body, reply) =>
    reply(events.onReport(peer, body)),
  );
  router.onPeerChange = (name, state) => {
    if (name === "") events.onLeft();
    else if (state === "down") events.onDown(name);
    else events.onMembers();
  };
}

/** Those of this node, in the order of client ids. */
function answerOf(
  node: string,
  router: Router,
  sessions: Sessions,
  { filter, limit, after }: Question,
): Answer {
  const found = subscribersOf(router, filter);
  const ids = [...found.keys()].sort();
  const items: SubscriberInfo[] = [];
  let bytes = 0;
  let cutAt: string | null = null;
  for (const clientId of ids) {
    if (after !== null && clientId <= after) continue;
    if (items.length >= limit || bytes > answerBytesMax) {
      cutAt = items.at(-1)?.clientId ?? null;
      break;
    }
    const { filters, qos } = found.get(clientId) ?? { filters: [], qos: 0 };
    const session = sessions.get(clientId);
    const connected = (session?.channel ?? null) !== null;
    const shown = filters.slice(0, filtersShown);
    const item = { clientId, user: session?.user ?? "", node, filters: shown, qos, connected };
    bytes += JSON.stringify(item).length;
    items.push(item);
  }
  return {
    total: ids.length,
    cutAt,
    items: items.map((item) => ({ ...item, filters: [...item.filters] })),
  };
}

interface Found {
  readonly filters: string[];
  qos: number;
}

/** By client id: of a topic those whose filters match it, of a filter with wildcards those who have just that one. */
function subscribersOf(router: Router, filter: string): ReadonlyMap<string, Found> {
  const found = new Map<string, Found>();
  const add = ({ subscriber, qos }: Delivery, by: string): void => {
    const one = found.get(subscriber.clientId);
    if (one === undefined) found.set(subscriber.clientId, { filters: [by], qos });
    else {
      one.filters.push(by);
      one.qos = Math.max(one.qos, qos);
    }
  };
  const visit = (entry: Entry, by: string): void => {
    if (typeof entry === "number") return;
    for (const delivery of entry.local ?? []) add(delivery, by);
    for (const group of entry.groups ?? []) {
      for (const { delivery } of group.ownMembers()) add(delivery, group.key);
    }
  };
  const group = router.index.group(filter);
  if (group !== undefined) for (const { delivery } of group.ownMembers()) add(delivery, filter);
  else if (/[+#]/.test(filter)) {
    const entry = router.index.get(filter);
    if (entry !== undefined) visit(entry, filter);
  } else router.index.matchNamed(filter, visit);
  return found;
}

/** A client with sessions at two nodes for a moment counts where it is connected. */
function merge(answers: readonly Answer[], limit: number, silent: readonly string[]): PresencePage {
  const byId = new Map<string, SubscriberInfo>();
  let total = 0;
  let cutAt: string | null = null;
  for (const answer of answers) {
    total += answer.total;
    if (answer.cutAt !== null && (cutAt === null || answer.cutAt < cutAt)) cutAt = answer.cutAt;
    for (const item of answer.items) {
      const before = byId.get(item.clientId);
      if (before === undefined || (item.connected && !before.connected))
        byId.set(item.clientId, item);
      if (before !== undefined) total--;
    }
  }
  const items = [...byId.values()].sort((a, b) => (a.clientId < b.clientId ? -1 : 1));
  // Behind the end of a page that was cut, others of that node may be missing.
  const end = cutAt;
  const whole = end === null ? items : items.filter(({ clientId }) => clientId <= end);
  return { total, items: whole.slice(0, limit), silent };
}

/** Undefined: it is none. */
function parse<T>(schema: z.ZodType<T>, bytes: Uint8Array): T | undefined {
  try {
    return schema.parse(JSON.parse(Buffer.from(bytes).toString()));
  } catch {
    return undefined;
  }
}
