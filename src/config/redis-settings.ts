/** The section `store.redis` of the settings: where Redis is and how it is spoken to. */
import { z } from "zod";
import { duration, flag, integer, list, oneOf, secret, text } from "./setting.js";

const addressPattern = /^(?:[0-9A-Za-z_.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]):[1-9]\d{0,4}$/;
/** Braces would change the hash tag that puts a partition into one slot. */
const prefixPattern = /^[^{}\s]{1,64}$/;
const anyPath = /^.*$/;

const path = (about: string) =>
  text({
    type: "path",
    pattern: anyPath,
    allowed: "a path of a file, or empty",
    default: "",
    about,
  });

const tls = z.strictObject({
  enabled: flag({
    default: false,
    about:
      "Whether Redis (and Sentinel) is spoken to over TLS. Without it passwords and messages travel as they " +
      "are: use a network that you trust.",
  }),
  ca: path(
    "File with the certificates that Redis's own must be signed by. Empty: those that Node.js knows.",
  ),
  certificate: path(
    "File with this node's certificate, for a Redis that asks for one. Needs store.redis.tls.key.",
  ),
  key: path("File with the private key of store.redis.tls.certificate."),
  server_name: text({
    type: "host name",
    pattern: /^[0-9A-Za-z_.-]{0,253}$/,
    allowed: "a host name, or empty",
    default: "",
    defaultText: "the host of the address",
    about:
      "Name that Redis's certificate must be for. Needed where the nodes of a Redis Cluster are announced " +
      "by addresses that are not in their certificates.",
  }),
});

export const redis = z.strictObject({
  mode: oneOf(["standalone", "sentinel", "cluster"], {
    default: "standalone",
    about:
      "What store.redis.addresses are: one Redis server, the Sentinels that know which server is the " +
      "master, or some nodes of a Redis Cluster (the others are found through them).",
  }),
  addresses: list({
    pattern: addressPattern,
    allowed: "a list of host:port",
    default: ["127.0.0.1:6379"],
    about:
      "Where Redis is: one address for standalone, several Sentinels or cluster nodes otherwise, so that " +
      "a node can start while one of them is down.",
  }),
  sentinel_name: text({
    type: "name",
    pattern: /^[0-9A-Za-z_.-]{0,128}$/,
    allowed: "a name of letters, digits, _, . and -, or empty",
    default: "",
    about: "Name under which the Sentinels watch the master. Must be given when mode is sentinel.",
  }),
  username: text({
    type: "name",
    pattern: /^\S{0,128}$/,
    allowed: "a user name without spaces, or empty",
    default: "",
    about: "User of Redis's ACL. Empty: the user `default`, or a Redis that knows passwords only.",
  }),
  password: secret({
    about:
      "Password of Redis; empty: none. It is shown nowhere. Rather than in a file that others can read, " +
      "give it as BROKER_STORE__REDIS__PASSWORD in the environment.",
  }),
  sentinel_username: text({
    type: "name",
    pattern: /^\S{0,128}$/,
    allowed: "a user name without spaces, or empty",
    default: "",
    about: "User of the Sentinels' own ACL, where they have one.",
  }),
  sentinel_password: secret({
    about: "Password of the Sentinels themselves, where they have one; empty: none.",
  }),
  db: integer({
    min: 0,
    max: 65_535,
    default: 0,
    unit: "number",
    about: "Database of the server. A Redis Cluster has 0 only.",
  }),
  prefix: text({
    type: "text",
    pattern: prefixPattern,
    allowed: "1 to 64 characters without spaces and braces",
    default: "trellis",
    about:
      "What the names of all keys begin with; the node's name follows. Two clusters whose nodes have the same " +
      "names can share one Redis with different prefixes. A node with another prefix finds nothing of what " +
      "it stored before.",
  }),
  tls: tls.prefault({}),
  call_timeout: duration({
    min: "50ms",
    max: "60s",
    default: "3s",
    about:
      "Redis must answer within this time; otherwise the connection is given up, and acknowledgements that " +
      "wait go on waiting for the next try. Shorter notices a silent Redis sooner; too short takes a slow " +
      "one for a dead one.",
  }),
  start_timeout: duration({
    min: "100ms",
    max: "10m",
    default: "10s",
    about:
      "How long a starting node waits for a Redis that cannot be reached or still loads its data, before it " +
      "gives up.",
  }),
  breaker_failures: integer({
    min: 1,
    max: 1000,
    default: 3,
    unit: "calls",
    about:
      "After so many failed calls in a row a server is left alone for store.redis.breaker_pause: calls fail at " +
      "once instead of waiting for their deadline each.",
  }),
  breaker_pause: duration({
    min: "10ms",
    max: "60s",
    default: "1s",
    about:
      "How long a server that failed is left alone before one call tries it again. Longer spares it; shorter " +
      "notices sooner that it is back.",
  }),
  lease_interval: duration({
    min: "100ms",
    max: "60s",
    default: "1s",
    about:
      "How often this node says in Redis that it lives. One that could not for store.redis.lease_time less this time " +
      "delivers and acknowledges nothing to persistent sessions, as others may adopt them. Must be the same at all nodes.",
  }),
  lease_time: duration({
    min: "400ms",
    max: "10m",
    default: "4s",
    about:
      "How long a node's lease lives without being renewed: others adopt the sessions of one that is silent only after it. " +
      "At least four times store.redis.lease_interval. Shorter gives clients their sessions back sooner; too short takes them " +
      "from a node that a slow Redis kept waiting. Must be the same at all nodes.",
  }),
  wait_replicas: integer({
    min: 0,
    max: 100,
    default: 0,
    unit: "replicas",
    about:
      "A write counts only when so many replicas of its master have it too (Redis's WAIT). 0: when the master " +
      "has it, so a fail-over of Redis can lose its last writes. With 1 or more it loses them only when those " +
      "replicas are lost as well; each commit takes longer, and with too few replicas nothing is acknowledged.",
  }),
});

export type RedisSettings = z.output<typeof redis>;

/** What is allowed one by one, and wrong together. Keys are those of settings. */
export function redisProblems(settings: RedisSettings): { key: string; sentence: string }[] {
  const { mode, addresses, sentinel_name: name, db, tls: secured } = settings;
  const problems: { key: string; sentence: string }[] = [];
  const refuse = (word: string, rest: string): void => {
    problems.push({ key: `store.redis.${word}`, sentence: `store.redis.${word} ${rest}` });
  };
  if (addresses.length === 0) refuse("addresses", "must hold at least one address");
  if (mode === "standalone" && addresses.length > 1) {
    refuse("addresses", "must hold one address when store.redis.mode is standalone");
  }
  if (mode === "sentinel" && name === "") {
    refuse("sentinel_name", "must be given when store.redis.mode is sentinel");
  }
  if (settings.lease_time < 4 * settings.lease_interval) {
    refuse("lease_time", "must be at least four times store.redis.lease_interval");
  }
  if (mode === "cluster" && db !== 0) refuse("db", "must be 0 for a Redis Cluster");
  if ((secured.certificate === "") !== (secured.key === "")) {
    refuse("tls.certificate", "and store.redis.tls.key must be given together");
  }
  return problems;
}

/** The section with `path` applied to the files that are set. */
export function withRedisPaths(
  settings: RedisSettings,
  path: (text: string) => string,
): RedisSettings {
  const of = (file: string): string => (file === "" ? "" : path(file));
  const { ca, certificate, key } = settings.tls;
  const files = { ca: of(ca), certificate: of(certificate), key: of(key) };
  return { ...settings, tls: { ...settings.tls, ...files } };
}
