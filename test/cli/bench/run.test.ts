/** Whole runs: against aedes in this process, and against servers that misbehave. */
import assert from "node:assert/strict";
import { createServer, type Server, type Socket } from "node:net";
import { test, type TestContext } from "node:test";
import { Aedes } from "aedes";
import { parseLoadOptions } from "../../../bench/options.js";
import { type LoadResult, runLoad } from "../../../src/cli/bench/run.js";
import { frameLength } from "../../../src/cli/bench/wire.js";
import { wholeNode } from "../../auth/whole-node.js";
import { realClock } from "../../../src/lib/clock.js";

/** Listens on a free port until the test ends; open connections end with it. */
async function listen(t: TestContext, onConnection: (socket: Socket) => void): Promise<number> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    onConnection(socket);
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  t.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  const address = server.address();
  assert.ok(typeof address === "object" && address !== null);
  return address.port;
}

async function startAedes(t: TestContext): Promise<number> {
  const broker = await Aedes.createBroker();
  const port = await listen(t, (socket) => broker.handle(socket));
  t.after(() => broker.close());
  return port;
}

function load(mode: string, port: number, ...args: string[]): Promise<LoadResult> {
  return runLoad(parseLoadOptions([mode, "--pub", `127.0.0.1:${port}`, ...args]), realClock);
}

function assertExact(result: LoadResult, sent: number, delivered: number): void {
  const { lost, duplicates, outOfOrder, refused, unanswered, foreign } = result;
  assert.deepEqual(
    { sent: result.sent, delivered: result.delivered, msgs: result.msgs },
    { sent, delivered, msgs: delivered },
  );
  assert.deepEqual(
    { lost, duplicates, outOfOrder, refused, unanswered, foreign },
    { lost: 0, duplicates: 0, outOfOrder: 0, refused: 0, unanswered: 0, foreign: 0 },
  );
}

for (const qos of ["0", "1", "2"]) {
  test(`every message of a counted run arrives once, QoS ${qos}`, async (t) => {
    const port = await startAedes(t);
    const shape = ["--publishers", "3", "--subscribers", "4", "--topics", "2"];
    const result = await load("throughput", port, ...shape, "--qos", qos, "--messages", "1000");
    assertExact(result, 3000, 6000);
    assert.ok(result.msgsPerSecond > 0);
    assert.ok(result.p50Ms !== null && result.p99Ms !== null && result.p50Ms <= result.p99Ms);
  });
}

for (const version of [[], ["--v5"]]) {
  test(`sessions that outlive their connections are ended after the run ${version.join("")}`, async (t) => {
    const node = wholeNode(t, ["store.kind=memory"]);
    const { report } = await node.start();
    const port = report.listeners[0]?.port ?? 0;
    const shape = ["--subscribers", "3", "--qos", "1", "--messages", "100", "--persistent"];
    const result = await load("throughput", port, ...shape, ...version);
    assertExact(result, 100, 300);
    assert.doesNotMatch(await node.ctl("sessions list"), /bench/);
  });
}

test("fan-out and fan-in count each delivery", async (t) => {
  const port = await startAedes(t);
  const out = await load("fanout", port, "--subscribers", "20", "--messages", "200");
  assertExact(out, 200, 4000);
  const many = ["--publishers", "20", "--qos", "1", "--messages", "100"];
  const inward = await load("fanin", port, ...many, "--pid", String(process.pid));
  assertExact(inward, 2000, 2000);
  assert.ok(inward.rssBytes !== null && inward.rssBytes > 0);
});

test("latency sends at its rate", async (t) => {
  const port = await startAedes(t);
  const result = await load("latency", port, "--rate", "250", "--messages", "51");
  assertExact(result, 51, 51);
  // All of them take 200 ms, less what the first was late: what is late is caught up with.
  assert.ok(result.seconds >= 0.1, `${result.seconds} s`);
});

test("payloads larger than a read arrive, and a small backlog holds nobody for ever", async (t) => {
  const port = await startAedes(t);
  const shape = ["--size", "400000", "--messages", "10", "--backlog", "2"];
  assertExact(await load("throughput", port, ...shape), 10, 10);
});

type Change = (frame: Buffer, at: number, subscriber: Socket | undefined) => Buffer[];

/** A broker of two clients that forwards what `change` makes of each PUBLISH. */
function forwarder(t: TestContext, change: Change): Promise<number> {
  let subscriber: Socket | undefined;
  let number = 0;
  return listen(t, (socket) => {
    let pending = Buffer.alloc(0);
    socket.on("data", (chunk) => {
      pending = Buffer.concat([pending, chunk]);
      for (;;) {
        const length = frameLength(pending, 0, pending.length);
        if (length === 0 || length > pending.length) return;
        const frame = pending.subarray(0, length);
        pending = pending.subarray(length);
        const kind = (frame[0] ?? 0) >> 4;
        if (kind === 1) socket.write(Uint8Array.of(0x20, 2, 0, 0));
        else if (kind === 8) {
          subscriber = socket;
          socket.write(Uint8Array.of(0x90, 3, 0, 1, 0));
        } else if (kind === 3) {
          for (const one of change(frame, number++, subscriber)) subscriber?.write(one);
        }
      }
    });
  });
}

test("loss, duplicates, overtaking and strange messages are counted exactly", async (t) => {
  let held: Buffer | undefined;
  const port = await forwarder(t, (frame, at) => {
    if (at === 3) return []; // lost
    if (at === 5) return [frame, frame]; // twice
    if (at === 7) {
      held = Buffer.from(frame);
      return [];
    }
    if (at === 8) return [frame, held ?? frame]; // overtaken
    if (at === 9) return [frame, Buffer.from([0x30, 5, 0, 1, 97, 98, 99])]; // not ours
    return [frame];
  });
  const result = await load("throughput", port, "--messages", "20");
  const { sent, delivered, lost, duplicates, outOfOrder, foreign } = result;
  assert.deepEqual(
    { sent, delivered, lost, duplicates, outOfOrder, foreign },
    { sent: 20, delivered: 21, lost: 1, duplicates: 1, outOfOrder: 1, foreign: 1 },
  );
});

test("a run is refused when the broker refuses, hangs up, or sends what it may not", async (t) => {
  const connack = (code: number) => (socket: Socket) =>
    socket.once("data", () => socket.write(Uint8Array.of(0x20, 2, 0, code)));
  const refusing = await listen(t, connack(5));
  await assert.rejects(load("throughput", refusing), /CONNACK refused: code 5/);
  const closing = await listen(t, (socket) => socket.once("data", () => socket.end()));
  await assert.rejects(load("throughput", closing), /bench-s0 at .*: closed by the broker/);
  const babbling = await listen(t, (socket) =>
    socket.once("data", () => socket.write(Uint8Array.of(0x36, 3, 0, 1, 97))),
  );
  await assert.rejects(load("throughput", babbling), /malformed PUBLISH/);
  const silent = await listen(t, () => undefined);
  await assert.rejects(load("throughput", silent, "--timeout", "1"), /subscribing took more than/);
});

test("a run is refused when nobody listens", async () => {
  await assert.rejects(load("throughput", 1), /bench-s0 at 127\.0\.0\.1:1: .*ECONNREFUSED/);
});

test("a connection that is lost on the way ends the run", async (t) => {
  const port = await forwarder(t, (frame, at, subscriber) => {
    if (at === 5) subscriber?.destroy();
    return [frame];
  });
  await assert.rejects(load("throughput", port, "--messages", "20"), /bench-s0 at .*: /);
});
