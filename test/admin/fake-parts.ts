/** Parts of a node that only remember what they were asked, for tests of commands and of the socket. */
import type { MemberStatus, Parts, ReloadInfo } from "../../src/admin/parts.js";
import { realClock } from "../../src/lib/clock.js";
import { Refusal } from "../../src/lib/refusal.js";

export interface FakeOptions {
  readonly name?: string;
  readonly version?: string;
  /** Other members, all up. */
  readonly others?: readonly string[];
  /** What this node holds. */
  readonly sessions?: number;
  readonly retained?: number;
  readonly onStop?: () => void;
  /** What reading the certificates again comes to. */
  readonly certificates?: readonly ReloadInfo[];
}

export type FakeParts = Parts & { readonly asked: unknown[] };

const halfReloaded = [
  { name: "tls", problem: null },
  { name: "wss", problem: "c.pem: no certificate" },
];
const since = "2026-01-01T00:00:00.000Z";

/** Parts whose cluster lets everybody in but `nobody@nowhere`. */
const drainStatus = {
  ...({ kind: "drain", state: "running", moved: 3, closed: 1, failed: 0 } as const),
  ...{ lastRefusal: "", sessions: 7, clients: 2 },
};

export function fakeParts(options: FakeOptions = {}): FakeParts {
  const { name = "a@127.0.0.1", version = "0.0.0", others = [] } = options;
  const {
    sessions = 0,
    retained = 0,
    onStop = () => undefined,
    certificates = halfReloaded,
  } = options;
  const asked: unknown[] = [];
  const running = [name, ...others].sort();
  let level = "info";
  return {
    asked,
    cluster: {
      name,
      join: async (node, { discard }) => {
        asked.push(["join", node, discard]);
        if (node === "nobody@nowhere") throw new Refusal(`no node answers as ${node}`);
        if (node === "bug@nowhere") throw new TypeError("a bug");
        return { member: node };
      },
      leave: async () => void asked.push(["leave"]),
      remove: async (node) => void asked.push(["remove", node]),
      status: () => ({
        ...{ node: name, version, running, stopped: [], partitioned: false },
        members: running.map(member),
      }),
      names: async (host) => [{ name, host: host ?? "127.0.0.1", port: 4370 }],
    },
    holdings: {
      local: () => ({ sessions, queued: 0, retained }),
      waitingFor: async () => ({ messages: 4, silent: 0 }),
    },
    ...sessionParts(),
    ...messageParts(name, others, asked),
    outbox: outboxParts(),
    presence: presencePart(name, asked),
    users: userParts(asked),
    acl: {
      reload: async () => ({ rules: 7 }),
      check: (request) => {
        asked.push(["check", request]);
        return { allowed: request.action === "publish", because: "line 3 of the ACL file says so" };
      },
    },
    bans: banParts(asked),
    store: storeParts(asked),
    log: {
      level: () => level,
      setLevel: (given) => {
        level = given;
      },
    },
    listeners: () => [
      { name: "tcp", kind: "mqtt", address: "127.0.0.1", port: 1883, connections: 1 },
      { name: "local", kind: "unix", address: "/run/mqtt.sock", port: 0, connections: 2 },
    ],
    reloadCertificates: () => certificates,
    metrics: () => ({ b: 2, a: 1 }),
    report: () => ({
      name,
      listeners: [{ kind: "mqtt", address: "127.0.0.1", port: 1883 }],
      linkPort: 4370,
      members: running,
    }),
    stop: onStop,
  };
}

function sessionParts(): Pick<Parts, "clients" | "clock" | "drain" | "sessions" | "subscriptions"> {
  const client = {
    ...{ clientId: "c1", user: "", address: "127.0.0.1:5000", protocolVersion: 5 },
    ...{ keepAliveSeconds: 60, connectedAt: since, persistent: true },
    ...{ expiryMs: 60_000, sessionNode: null, inflight: 0, queued: 0 },
  };
  const session = {
    ...{ clientId: "c1", user: "", connected: true, expiryMs: 60_000, subscriptions: 1 },
    connectionNode: null,
    ...{ queued: 0, queuedBytes: 0, inflight: 0, openQos2: 0 },
  };
  return {
    clock: realClock,
    clients: {
      list: () => [client, undefined, client],
      show: (clientId) => (clientId === "c1" ? client : undefined),
      kick: (clientId) => clientId === "c1",
    },
    sessions: {
      list: () => [session],
      show: (clientId) => (clientId === "c1" ? session : undefined),
      delete: async (clientId) => clientId === "c1",
      move: async (clientId, node) => {
        if (clientId === "c1") return 3;
        throw new Refusal(`no session of ${clientId} goes to ${node}`);
      },
    },
    drain: {
      start: () => drainStatus,
      undo: () => {
        throw new Refusal("this node is not being drained");
      },
      status: () => drainStatus,
      plan: () => ({ nodes: [{ name: "n1@h", sessions: 4 }], gives: 2 }),
      balance: () => ({ ...drainStatus, kind: "rebalance" }),
      stopBalance: () => ({ ...drainStatus, kind: "rebalance", state: "stopped" }),
    },
    subscriptions: {
      list: (clientId) => {
        const filter = `f\u001b[2J/${clientId ?? "all"}`;
        const row = { clientId: "c1", filter, qos: 1, noLocal: true, retainAsPublished: false };
        return [row];
      },
    },
  };
}

const fakeGroup: ReturnType<Parts["explainer"]["explain"]>["groups"][number] = {
  filter: "$share/g/t/#",
  local: [{ clientId: "m1", qos: 1, connected: true }],
  peers: [{ node: "b@h", state: "up", members: { online: 2, waiting: 1 }, qos: 1, durable: true }],
};

function messageParts(
  name: string,
  others: readonly string[],
  asked: unknown[],
): Pick<Parts, "routes" | "explainer" | "retained" | "publisher"> {
  const message = { topic: "t", qos: 1, bytes: 2, publishedAt: since };
  return {
    routes: {
      list: (filter) => [{ filter: filter ?? "t/#", node: name, qos: 2, durable: true }],
      verify: async () => others.map((peer) => ({ peer, equal: true, rows: 3 })),
    },
    explainer: {
      explain: (topic, clientId) => ({
        topic,
        local: [{ clientId: "c1", filters: ["t/#"], qos: 1, connected: true }],
        peers: [{ node: "b@h", state: "up", filters: ["t/+"], qos: 0, durable: false }],
        groups: [fakeGroup],
        denied: [{ clientId: "c9", because: "line 3 of the ACL file denies it" }],
        ...(clientId === undefined
          ? {}
          : { client: { clientId, delivered: false, because: "no filter of it matches" } }),
      }),
    },
    retained: {
      list: (filter) => [{ ...message, topic: filter }],
      get: (topic) => {
        if (topic === "text") return { ...message, payload: Buffer.from("hi") };
        return topic === "bytes" ? { ...message, payload: Buffer.of(0xff, 0) } : undefined;
      },
      delete: async (topic) => topic === "text",
    },
    publisher: {
      publish: async (request) => {
        asked.push(["publish", request]);
        return { matched: request.topic === "nowhere" ? 0 : 1 };
      },
    },
  };
}

function presencePart(name: string, asked: unknown[]): Parts["presence"] {
  return {
    subscribers: async (filter, limit, after) => {
      asked.push(["presence", filter, limit, after]);
      const one = { clientId: "c1", user: "anna", node: name, filters: [filter], qos: 1 };
      return { total: 2, items: [{ ...one, connected: true }], silent: ["b@h"] };
    },
  };
}

function outboxParts(): Parts["outbox"] {
  const box = { messages: 3, bytes: 300, oldest: since, drains: false, lostData: false };
  const waiting = {
    number: "7-1",
    topic: "t",
    qos: 1,
    bytes: 5,
    publisher: "c1",
    since,
    groups: [],
  };
  return {
    list: () => [
      { node: "b@h", state: "down", ...box },
      { node: "c@h", state: "up", ...box, messages: 0, bytes: 0, oldest: null, drains: true },
      { node: "d@h", state: "down", ...box, lostData: true },
    ],
    show: (_node, limit) => ({ total: 3, items: [waiting, waiting, waiting].slice(0, limit) }),
    discard: (node) => {
      if (node !== "b@h") throw new Refusal(`${node} is up`);
      return 3;
    },
    redirect: async () => 3,
  };
}

function storeParts(asked: unknown[]): Parts["store"] {
  return {
    stats: () => ({ kind: "lmdb", alarm: null, counters: { commits: 5, file_bytes: 8192 } }),
    verify: async () => ({
      ...{ partitions: 2, records: 10, bytes: 1000, wrong: 1 },
      damaged: [{ partition: "session/c1", key: "log/\u001b1" }],
    }),
    compact: async () => ({ before: 3 * 1024 * 1024, after: 1024 * 1024 }),
    backup: async (directory) => {
      asked.push(["backup", directory]);
      return { records: 10, files: ["store/data.mdb", "cluster.state"] };
    },
  };
}

function userParts(asked: unknown[]): Parts["users"] {
  const known = (name: string): void => {
    if (name !== "anna") throw new Refusal("there is no user of this name");
  };
  return {
    list: () => [{ name: "anna", iterations: 4096, hash: "scrypt" }],
    importMosquitto: async (text) => {
      asked.push(["import", text]);
      return { imported: 2, existing: 1 };
    },
    add: async (name, password) => void asked.push(["add", name, password]),
    setPassword: async (name, password) => {
      known(name);
      asked.push(["passwd", name, password]);
    },
    delete: async (name) => {
      known(name);
      asked.push(["delete", name]);
    },
  };
}

function member(name: string): MemberStatus {
  return { name, state: "up", since, incarnation: 1, connections: 0, sessions: 3, routes: 0 };
}

function banParts(asked: unknown[]): Parts["bans"] {
  return {
    add: async (kind, what, durationMs, reason) => {
      asked.push(["ban", kind, what, durationMs, reason]);
      return { kind, what, reason, since, ends: durationMs === 0 ? null : since };
    },
    delete: async (_kind, what) => {
      if (what === "nobody") throw new Refusal('the client "nobody" is not banned');
      return what;
    },
    list: () => [{ kind: "address", what: "10.0.0.0/8", reason: "noise", since, ends: null }],
  };
}
