/**
 * What a dead node's store has of share groups, and does not come with the session: it goes to another member, or to the
 * session where it is now, before it is deleted there [MQTT-4.8.2-5]. The session has ended; or the node took it when the
 * session's state had left: in a move, or while it was back, and did not know yet that the session was adopted.
 */
import { givenOrigin } from "../../routing/origins.js";
import type { Message } from "../../routing/message.js";
import { openRecord } from "../../store/record.js";
import type { Row, Store } from "../../store/store.js";
import { givenIdentity } from "../given.js";
import { logPrefix } from "../journal/journal.js";
import { logVersion, readLog } from "../journal/log-record.js";
import type { MessageReader } from "../journal/message-codec.js";
import type { OriginNames, StoredSession } from "../journal/stored-session.js";
import type { AdoptionParts } from "./parts.js";

const rowsAtOnce = 256;

export interface LeftPlace {
  readonly store: Pick<Store, "read">;
  readonly partition: string;
  readonly clientId: string;
  /** The number of the first message that is not the session's any more. */
  readonly from: number;
  /** What the dead node's names for origins are here. */
  readonly names: OriginNames;
}

/**
 * Resolves with how many were given, when those who have them now have accepted them. What was sent with QoS 2 is
 * completed with its client or not at all. `stored` is what the partition says. Rejects when the store cannot be read.
 */
export async function giveLeft(
  { router, sessions }: Pick<AdoptionParts, "router" | "sessions">,
  { log, meta }: StoredSession,
  { store, partition, clientId, from, names }: LeftPlace,
): Promise<number> {
  const sent = new Set<number>();
  for (const { seq, qos } of log.window.values()) if (qos === 2) sent.add(seq);
  const isLeft = (seq: number): boolean => seq >= from && log.live.has(seq) && !sent.has(seq);
  const given: Promise<void>[] = [];
  let count = 0;
  const onMessage = (seq: number, reader: MessageReader): void => {
    const { share } = reader;
    if (share === null || !isLeft(seq)) return;
    const message = reader.message(sessions.router.topics, log.live.get(seq)?.expiresMs ?? 0);
    if (message.qos === 2) {
      // That node may have given it already, under this name.
      const { origin, identity } = log.taken.get(seq) ?? {
        origin: { name: givenOrigin, incarnation: meta?.epoch ?? 0 },
        identity: givenIdentity(clientId, seq),
      };
      message.origin = { name: names(origin.name), incarnation: origin.incarnation };
      message.identity = identity;
    }
    count++;
    given.push(give(router, message, share));
  };
  if (![...log.live.keys()].some(isLeft)) return 0;
  for await (const [, record] of logRows(store, partition)) {
    const body = openRecord(logVersion, record);
    if (body !== null) readLog(body, { onMessage, ...ignored });
    await Promise.all(given.splice(0));
  }
  return count;
}

const ignore = (): void => undefined;
const ignored = { onOpened: ignore, onMark: ignore, onTaken: ignore, onEvent: ignore };

async function* logRows(store: Pick<Store, "read">, partition: string): AsyncGenerator<Row> {
  for (let from = logPrefix; ; ) {
    const rows = await store.read(partition, from, rowsAtOnce);
    for (const row of rows) {
      if (!row[0].startsWith(logPrefix)) return;
      yield row;
    }
    const last = rows.at(-1);
    if (last === undefined || rows.length < rowsAtOnce) return;
    from = `${last[0]}\0`;
  }
}

/** Resolves at once when nobody is in the group any more. */
function give(router: AdoptionParts["router"], message: Message, share: string): Promise<void> {
  return new Promise((resolve) => {
    const waiter = { expiresMs: message.expiresMs, accept: resolve };
    if (!router.redispatch(message, share, false, waiter)) resolve();
  });
}
