/** The settings of the durable store (section `store`). */
import { z } from "zod";
import { redis } from "./redis-settings.js";
import { duration, oneOf, size } from "./setting.js";

/** Section `store`. */
export const store = z.strictObject({
  kind: oneOf(["lmdb", "redis", "memory"], {
    default: "lmdb",
    about:
      "Where persistent sessions, retained messages, wills and what waits for peers are kept. lmdb: in a file " +
      "below node.data_dir, nothing else needed. redis: in a Redis server or cluster (store.redis). memory: " +
      "nowhere; all of it is gone when the process ends, whatever was acknowledged.",
  }),
  durability: oneOf(["process", "power"], {
    default: "process",
    about:
      "When a message counts as stored. process: it survives any end of the process, such as kill -9, but what was " +
      "stored in the last moments may be lost when the machine loses power. power: it is on the disk as well before " +
      "it is acknowledged; acknowledgements then wait for the disk. With store.kind redis, process is what Redis " +
      "itself keeps, and power needs a Redis with `appendonly yes` and `appendfsync always`.",
  }),
  commit_interval: duration({
    min: "0s",
    max: "1s",
    default: "0s",
    about:
      "How long changes are gathered before they are committed together. 0: until the end of what the node is " +
      "doing, at most until the commit before it is done. Longer costs less disk and processor time per message " +
      "and delays every acknowledgement of a persistent session by as much.",
  }),
  stall_timeout: duration({
    min: "100ms",
    max: "10m",
    default: "10s",
    about:
      "How long the publisher of a QoS 1 or 2 message may wait while the store takes nothing, such as on a full " +
      "disk: then its connection is closed. A commit that takes so long raises the alarm. An MQTT 3 client of which " +
      "a publish was refused, for any reason, is closed after as long, because it cannot be told.",
  }),
  max_size: size({
    min: "1MiB",
    max: "16TiB",
    default: "64GiB",
    about:
      "Most bytes that all that is stored may take, with store.kind lmdb. At the limit it is as with a full disk: QoS 1 " +
      "and 2 messages that would have to be stored are refused until there is room, what is stored is still delivered. " +
      "Freed space is used again; `broker ctl store compact` gives it back to the disk. May be changed at any start.",
  }),
  redis: redis.prefault({}),
});
