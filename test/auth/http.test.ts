/** The HTTP call-out: what is asked, which answers count, and that everything else refuses. */
import assert from "node:assert/strict";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { type TestContext, test } from "node:test";
import type { Authenticator } from "../../src/auth/authenticator.js";
import type { Users } from "../../src/auth/users.js";
import { createLog } from "../../src/lib/log.js";
import { eventually } from "../support/mqtt-client.js";
import { ask, authenticatorOf, busy, notAuthorized, refusedUser, unavailable } from "./asking.js";
import { testUsers } from "./support.js";

type Handler = (body: unknown, response: ServerResponse, request: IncomingMessage) => void;

interface Service {
  readonly url: string;
  /** What it was asked. */
  readonly asked: unknown[];
  /** Connections that were made to it. */
  connections(): number;
  handler: Handler;
}

const answer =
  (value: unknown, status = 200): Handler =>
  (_body, response) => {
    response.writeHead(status, { "content-type": "application/json" });
    response.end(typeof value === "string" ? value : JSON.stringify(value));
  };
const allow = answer({ result: "allow" });

async function service(t: TestContext, handler: Handler = allow): Promise<Service> {
  const asked: unknown[] = [];
  let connections = 0;
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const body: unknown = JSON.parse(Buffer.concat(chunks).toString());
      asked.push(body);
      made.handler(body, response, request);
    });
  });
  server.on("connection", () => connections++);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  // It listens on TCP.
  const { port } = server.address() as AddressInfo;
  const url = `http://127.0.0.1:${port}/auth?node=1`;
  const made: Service = { url, asked, handler, connections: () => connections };
  return made;
}

interface Made {
  readonly authenticator: Authenticator;
  readonly log: string[];
  counters(): { asked: number; fromCache: number; failed: Record<string, number> };
}

function make(
  t: TestContext,
  settings: object,
  more: { methods?: string[]; users?: Users; anonymous?: boolean; checks_waiting?: number } = {},
): Made {
  const { users, ...rest } = more;
  const log: string[] = [];
  const to = createLog("debug", { write: (line) => void log.push(line) });
  const all = { methods: ["http"], ...rest, http: settings };
  const authenticator = authenticatorOf(all, users, to);
  t.after(() => authenticator.close());
  // The method's own counters are these.
  const counters = () => authenticator.methodCounters.http as ReturnType<Made["counters"]>;
  return { authenticator, log, counters };
}

const anna = { name: "anna", password: "secret" };

test("the service is asked by POST, with everything that the client shows", async (t) => {
  const http = await service(t, (body, response, request) => {
    assert.deepEqual([request.method, request.url], ["POST", "/auth?node=1"]);
    assert.equal(request.headers["content-type"], "application/json");
    allow(body, response, request);
  });
  const { authenticator } = make(t, { url: http.url });
  const shown = { ...anna, clientId: "c-1", address: "10.0.0.9:1234", listener: "tls" };
  assert.deepEqual(await ask(authenticator, shown), { user: "anna" });
  assert.deepEqual(http.asked, [
    {
      ...{ clientId: "c-1", user: "anna", password: "secret" },
      ...{ address: "10.0.0.9:1234", listener: "tls" },
    },
  ]);
  await ask(authenticator, { name: "bert" });
  assert.deepEqual(Object(http.asked[1]).password, null);
});

test("allow may name another user and rules; deny refuses", async (t) => {
  const http = await service(t);
  const { authenticator } = make(t, { url: http.url, cache_allow: "0s" });
  const acl = [{ permission: "allow", action: "subscribe", topic: "a/#" }];
  http.handler = answer({ result: "allow", user: "a-17", acl });
  assert.deepEqual(await ask(authenticator, anna), {
    user: "a-17",
    rules: [{ allow: true, action: "subscribe", filter: "a/#" }],
  });
  assert.deepEqual(await ask(authenticator, { password: "key only" }), {
    user: "a-17",
    rules: [{ allow: true, action: "subscribe", filter: "a/#" }],
  });
  http.handler = answer({ result: "deny", user: "root" });
  assert.deepEqual(await ask(authenticator, anna), refusedUser);
  assert.equal(authenticator.counters.refusedByService, 1);
});

test("whatever is no clear answer refuses, and is counted by what was wrong", async (t) => {
  const http = await service(t);
  const { authenticator, counters, log } = make(t, { url: http.url });
  const cases: readonly (readonly [Handler, string])[] = [
    [answer({ result: "allow" }, 500), "status 500"],
    [answer({ result: "allow" }, 201), "status 201"],
    [answer("", 204), "status 204"],
    [answer({ result: "allow" }, 401), "status 401"],
    [answer(""), "not understood"],
    [answer("allow"), "not understood"],
    [answer("{"), "not understood"],
    [answer({}), "not understood"],
    [answer([{ result: "allow" }]), "not understood"],
    [answer({ result: "ALLOW" }), "not understood"],
    [answer({ result: true }), "not understood"],
    [answer({ result: "allow", user: 1 }), "not understood"],
    [answer({ result: "allow", user: "" }), "not understood"],
    [answer({ result: "allow", acl: [{ topic: "#" }] }), "not understood"],
    [answer({ result: "allow", acl: null }), "not understood"],
    [answer(`{"result":"allow","x":"${"x".repeat(70_000)}"}`), "too long"],
    [(_body, response) => response.destroy(), "no connection"],
    [
      (_body, response) => {
        response.writeHead(200, { "content-length": "100" });
        response.write('{"result":"allow"}', () => response.destroy());
      },
      "cut off",
    ],
    [(_body, response) => response.socket?.end("no HTTP\r\n\r\n"), "no connection"],
  ];
  const expected: Record<string, number> = {};
  for (const [handler, why] of cases) {
    http.handler = handler;
    assert.deepEqual(await ask(authenticator, anna), unavailable, why);
    expected[why] = (expected[why] ?? 0) + 1;
    assert.deepEqual(counters().failed, expected);
  }
  assert.equal(authenticator.counters.refusedUnavailable, cases.length);
  http.handler = allow;
  assert.deepEqual(await ask(authenticator, anna), { user: "anna" });
  assert.equal(log.length, 1, "a failing service is logged now and then, not for each client");
  assert.ok(!/secret|anna/.test(log.join("")));
});

test("a redirect is not followed", async (t) => {
  const other = await service(t);
  const http = await service(t, (_body, response) => {
    response.writeHead(307, { location: other.url });
    response.end();
  });
  const { authenticator, counters } = make(t, { url: http.url });
  assert.deepEqual(await ask(authenticator, anna), unavailable);
  assert.deepEqual([other.asked, counters().failed], [[], { "status 307": 1 }]);
});

test("a service that is slow or not there refuses within the time that is set", async (t) => {
  const http = await service(t, () => undefined);
  const { authenticator, counters } = make(t, { url: http.url, timeout: "20ms" });
  assert.deepEqual(await ask(authenticator, anna), unavailable);
  http.handler = (_body, response) => {
    response.writeHead(200);
    response.write('{"result":');
  };
  assert.deepEqual(await ask(authenticator, anna), unavailable);
  assert.deepEqual(counters().failed, { timeout: 2 });
  const { authenticator: nowhere } = make(t, { url: "http://127.0.0.1:1/" });
  assert.deepEqual(await ask(nowhere, anna), unavailable);
});

test("answers are remembered for the same client from the same host, failures are not", async (t) => {
  const http = await service(t);
  const { authenticator, counters } = make(t, { url: http.url, cache_entries: 3 });
  const from = (port: number) => ({ ...anna, address: `10.0.0.1:${port}` });
  for (const port of [1, 2, 3])
    assert.deepEqual(await ask(authenticator, from(port)), { user: "anna" });
  assert.deepEqual([counters().asked, counters().fromCache], [1, 2]);
  const others = [{ password: "Secret" }, { clientId: "d" }, { listener: "ws" }, { name: "bert" }];
  http.handler = answer({ result: "deny" });
  for (const other of others) {
    assert.deepEqual(await ask(authenticator, { ...from(1), ...other }), refusedUser);
  }
  assert.equal(counters().asked, 5);
  assert.deepEqual(await ask(authenticator, { ...from(1), name: "bert" }), refusedUser);
  assert.deepEqual([counters().asked, counters().fromCache], [5, 3]);
  // The first answer has made room for the later ones.
  assert.deepEqual(await ask(authenticator, from(1)), refusedUser);
  assert.equal(counters().asked, 6);
  http.handler = answer("", 503);
  const dora = { name: "dora", password: "x" };
  assert.deepEqual(await ask(authenticator, dora), unavailable);
  http.handler = allow;
  assert.deepEqual(await ask(authenticator, dora), { user: "dora" });
});

test("answers are forgotten after their time; 0 remembers nothing", async (t) => {
  const http = await service(t);
  const short = make(t, { url: http.url, cache_allow: "30ms" });
  await ask(short.authenticator, anna);
  http.handler = answer({ result: "deny" });
  let refused = false;
  await eventually(() => {
    void ask(short.authenticator, anna).then(({ user }) => {
      refused ||= user === null;
    });
    return refused;
  }, "the end of the answer");
  const never = make(t, { url: http.url, cache_deny: "0s" });
  await ask(never.authenticator, anna);
  await ask(never.authenticator, anna);
  assert.equal(never.counters().asked, 2);
});

test("few questions at once, some wait, more are refused as busy; who has gone is not asked about", async (t) => {
  const held: (() => void)[] = [];
  const http = await service(t, (body, response, request) => {
    held.push(() => allow(body, response, request));
  });
  const settings = { url: http.url, at_once: 2, cache_allow: "0s" };
  const { authenticator } = make(t, settings, { checks_waiting: 2 });
  const gone = () => false;
  const all = [
    ...[ask(authenticator, anna), ask(authenticator, anna)],
    ...[ask(authenticator, anna, gone), ask(authenticator, anna)],
  ];
  assert.deepEqual(await ask(authenticator, anna), busy);
  await eventually(() => held.length === 2, "the first two");
  assert.equal(authenticator.waiting, 2);
  for (const release of held.splice(0)) release();
  await eventually(() => held.length === 1, "the last one");
  for (const release of held.splice(0)) release();
  const [first, second, , last] = all;
  assert.deepEqual(await Promise.all([first, second, last]), Array(3).fill({ user: "anna" }));
  assert.equal(authenticator.counters.checksAbandoned, 1);
  assert.deepEqual([http.asked.length, http.connections()], [3, 2]);
});

test("a kept connection that the service has closed is no failure", async (t) => {
  const http = await service(t);
  const { authenticator, counters } = make(t, { url: http.url, cache_allow: "0s" });
  await ask(authenticator, anna);
  let broken = false;
  http.handler = (body, response, request) => {
    if (broken) return allow(body, response, request);
    broken = true;
    response.socket?.destroy();
  };
  assert.deepEqual(await ask(authenticator, anna), { user: "anna" });
  assert.deepEqual([counters().failed, http.asked.length], [{}, 3]);
});

test("ignore passes on to the next method; nobody's verdict is that of an anonymous client", async (t) => {
  const http = await service(t, answer({ result: "ignore" }));
  const users = await testUsers({ anna: "secret" });
  const methods = ["http", "password"];
  const { authenticator } = make(t, { url: http.url }, { methods, users });
  assert.deepEqual(await ask(authenticator, anna), { user: "anna" });
  assert.deepEqual(await ask(authenticator, { name: "bert", password: "x" }), refusedUser);
  assert.equal(http.asked.length, 2);
  const open = make(t, { url: http.url });
  assert.deepEqual(await ask(open.authenticator, anna), { user: "" });
  const closed = make(t, { url: http.url }, { anonymous: false });
  assert.deepEqual(await ask(closed.authenticator, anna), refusedUser);
  assert.deepEqual(await ask(closed.authenticator, {}), notAuthorized);
  assert.equal(http.asked.length, 4);
});

test("the first verdict is the last word: who is right in the users file is not asked about", async (t) => {
  const http = await service(t, answer({ result: "deny" }));
  const users = await testUsers({ anna: "secret" });
  const methods = ["password", "http"];
  const { authenticator } = make(t, { url: http.url }, { methods, users });
  assert.deepEqual(await ask(authenticator, anna), { user: "anna" });
  assert.deepEqual(await ask(authenticator, { ...anna, password: "x" }), refusedUser);
  assert.deepEqual(http.asked, []);
  http.handler = allow;
  assert.deepEqual(await ask(authenticator, { name: "bert", password: "x" }), { user: "bert" });
});

test("a password that is no text refuses without a question", async (t) => {
  const http = await service(t);
  const { authenticator } = make(t, { url: http.url });
  const shown = { name: "anna", password: Buffer.from([0xc3, 0x28]) };
  assert.deepEqual(await ask(authenticator, shown), refusedUser);
  assert.deepEqual(http.asked, []);
});
