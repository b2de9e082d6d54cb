/** The real network: what transport.ts promises, on real sockets. */
import assert from "node:assert/strict";
import { connect, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { tcpTransport } from "../../src/cluster/tcp.js";
import type { DialFailure, Pipe, PipeListener } from "../../src/cluster/transport.js";
import { realClock, sleep } from "../../src/lib/clock.js";
import type { Clock, Timer } from "../../src/lib/clock.js";
import { silentLog } from "../../src/lib/log.js";
import { Refusal } from "../../src/lib/refusal.js";

const host = "127.0.0.1";
const transport = tcpTransport(realClock, silentLog);

/** Everything that happens at one end of a pipe. */
class End {
  received = Buffer.alloc(0);
  closes = 0;

  constructor(readonly pipe: Pipe) {
    pipe.onData = (bytes) => {
      assert.equal(this.closes, 0, "data after the close");
      this.received = Buffer.concat([this.received, bytes]);
    };
    pipe.onClose = () => this.closes++;
  }
}

async function until(what: string, condition: () => boolean): Promise<void> {
  const deadlineMs = realClock.monotonicMs() + 10_000;
  while (!condition()) {
    assert.ok(realClock.monotonicMs() < deadlineMs, `waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

async function listen(
  t: TestContext,
  onPipe: (pipe: Pipe) => void,
  ports: readonly [number, number] = [0, 0],
): Promise<PipeListener> {
  const listener = await transport.listen(host, ports, onPipe);
  t.after(() => listener.close());
  return listener;
}

function dial(port: number, to = host): Promise<Pipe | DialFailure> {
  return new Promise((resolve) => transport.dial(to, port, resolve));
}

/** Both ends of a new pipe; destroyed when the test ends. */
async function pair(t: TestContext): Promise<{ near: End; far: End }> {
  const accepted: End[] = [];
  const listener = await listen(t, (pipe) => accepted.push(new End(pipe)));
  const pipe = await dial(listener.port);
  assert.ok(typeof pipe === "object");
  const near = new End(pipe);
  await until("accepted", () => accepted.length > 0);
  const far = accepted[0];
  assert.ok(far !== undefined);
  t.after(() => {
    near.pipe.destroy();
    far.pipe.destroy();
  });
  return { near, far };
}

/** A port on which nobody listens (any more). */
async function deadPort(): Promise<number> {
  const listener = await transport.listen(host, [0, 0], () => undefined);
  listener.close();
  return listener.port;
}

test("bytes go both ways, in order and whole", async (t) => {
  const { near, far } = await pair(t);
  const sent = Buffer.alloc(3_000_000, "0123456789abcdef");
  near.pipe.write(sent.subarray(0, 1));
  near.pipe.write(sent.subarray(1));
  far.pipe.write(Buffer.from("back"));
  await until("all received", () => far.received.length === sent.length);
  await until("answer received", () => near.received.length === 4);
  assert.ok(far.received.equals(sent));
  assert.equal(near.received.toString(), "back");
  assert.match(near.pipe.remote, /^127\.0\.0\.1:\d+$/);
  assert.match(far.pipe.remote, /^127\.0\.0\.1:\d+$/);
});

test("of a paced pipe a little is read in each turn, and everything in the end", async (t) => {
  const { near, far } = await pair(t);
  const { onData } = far.pipe;
  let most = 0;
  let inTurn = 0;
  far.pipe.paced = true;
  far.pipe.onData = (bytes) => {
    if (inTurn === 0) setImmediate(() => void (inTurn = 0));
    inTurn += bytes.length;
    most = Math.max(most, inTurn);
    onData(bytes);
  };
  near.pipe.write(Buffer.alloc(3_000_000, 1));
  await until("all of it", () => far.received.length === 3_000_000);
  assert.ok(most <= 131_072 + 65_536, `${most} bytes in a turn`);
});

test("close lets go what was written, and each end hears of it once", async (t) => {
  const { near, far } = await pair(t);
  near.pipe.write(Buffer.alloc(2_000_000, 1));
  near.pipe.close();
  assert.equal(near.closes, 0, "not within the call");
  near.pipe.write(Buffer.from("too late"));
  await until("closed", () => near.closes > 0 && far.closes > 0);
  assert.equal(far.received.length, 2_000_000);
  near.pipe.close();
  near.pipe.destroy();
  far.pipe.destroy();
  far.pipe.write(Buffer.from("nobody"));
  await sleep(realClock, 20);
  assert.deepEqual([near.closes, far.closes], [1, 1]);
});

test("destroy closes at once; onClose comes later, once, and no data after it", async (t) => {
  const { near, far } = await pair(t);
  far.pipe.write(Buffer.from("unread"));
  near.pipe.destroy();
  near.pipe.destroy();
  near.pipe.close();
  assert.equal(near.closes, 0);
  await until("closed", () => near.closes > 0 && far.closes > 0);
  assert.equal(near.received.length, 0);
  assert.deepEqual([near.closes, far.closes], [1, 1]);
});

test("a pipe that is closing reads nothing more", async (t) => {
  const { near, far } = await pair(t);
  near.pipe.close();
  far.pipe.write(Buffer.from("too late"));
  await until("closed", () => near.closes > 0 && far.closes > 0);
  assert.equal(near.received.length, 0);
});

test("bufferedBytes tells how much the network has not taken", async (t) => {
  const sockets: Socket[] = [];
  const server = createServer({ pauseOnConnect: true }, (socket) => sockets.push(socket));
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  t.after(() => server.close());
  const pipe = await dial((server.address() as AddressInfo).port);
  assert.ok(typeof pipe === "object");
  t.after(() => pipe.destroy());
  assert.equal(pipe.bufferedBytes, 0);
  for (let i = 0; i < 64; i++) pipe.write(Buffer.alloc(1 << 20));
  assert.ok(pipe.bufferedBytes > 16 << 20, `${pipe.bufferedBytes}`);
  await until("accepted", () => sockets.length > 0);
  sockets[0]?.resume();
  await until("all taken", () => pipe.bufferedBytes === 0);
});

test("a peer that never closes its side is left after 2 s of the clock", async (t) => {
  const timers: { delayMs: number; callback: () => void }[] = [];
  const clock: Clock = {
    ...realClock,
    setTimer(delayMs, callback): Timer {
      timers.push({ delayMs, callback });
      return { dueMs: 0 };
    },
    clearTimer: () => undefined,
  };
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true });
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  t.after(() => server.close());
  const port = (server.address() as AddressInfo).port;
  const pipe = await new Promise<Pipe | DialFailure>((resolve) =>
    tcpTransport(clock, silentLog).dial(host, port, resolve),
  );
  assert.ok(typeof pipe === "object");
  const end = new End(pipe);
  pipe.close();
  await sleep(realClock, 20);
  assert.equal(end.closes, 0);
  assert.equal(timers.at(-1)?.delayMs, 2_000);
  timers.at(-1)?.callback();
  await until("closed", () => end.closes === 1);
});

test("a dial that gets no answer within 2 s of the clock is unreachable", async () => {
  let expire = (): void => undefined;
  const clock: Clock = {
    ...realClock,
    setTimer(delayMs, callback): Timer {
      assert.equal(delayMs, 2_000);
      expire = callback;
      return { dueMs: 0 };
    },
    clearTimer: () => undefined,
  };
  const results: (Pipe | DialFailure)[] = [];
  // An address that is reserved for documents (RFC 5737): nobody answers, or there is no way to it.
  tcpTransport(clock, silentLog).dial("192.0.2.1", 9, (result) => results.push(result));
  assert.deepEqual(results, [], "not within the call");
  expire();
  await until("answered", () => results.length > 0);
  assert.deepEqual(results, ["unreachable"]);
});

test("nobody listens: refused; no such host: unreachable", async () => {
  assert.equal(await dial(await deadPort()), "refused");
  assert.equal(await dial(await deadPort(), "localhost"), "refused");
  assert.equal(await dial(9, "no-such-host.invalid"), "unreachable");
});

test("the first free port of the range is taken", async (t) => {
  const first = await listen(t, () => undefined);
  const range = [first.port, Math.min(first.port + 50, 65_535)] as const;
  const second = await listen(t, () => undefined, range);
  assert.ok(second.port > first.port && second.port <= range[1], `${second.port}`);
});

test("no free port, a foreign address: refused with a sentence", async (t) => {
  const taken = await listen(t, () => undefined);
  const again = transport.listen(host, [taken.port, taken.port], () => undefined);
  await assert.rejects(again, (error) => {
    assert.ok(error instanceof Refusal);
    assert.match(error.message, new RegExp(`port ${taken.port} is in use`));
    return true;
  });
  const foreign = transport.listen("192.0.2.1", [0, 0], () => undefined);
  await assert.rejects(foreign, /no address of this machine \(cluster\.bind\)/);
});

test("a closed listener takes nobody, and leaves the pipes that it has", async (t) => {
  const accepted: End[] = [];
  const listener = await listen(t, (pipe) => accepted.push(new End(pipe)));
  const pipe = await dial(listener.port);
  assert.ok(typeof pipe === "object");
  t.after(() => pipe.destroy());
  await until("accepted", () => accepted.length > 0);
  listener.close();
  assert.equal(await dial(listener.port), "refused");
  pipe.write(Buffer.from("still here"));
  await until("received", () => accepted[0]?.received.length === 10);
});

test("a connection that is reset at once does no harm", async (t) => {
  const accepted: End[] = [];
  const listener = await listen(t, (pipe) => accepted.push(new End(pipe)));
  const socket = connect(listener.port, host, () => socket.resetAndDestroy());
  await until("closed", () => accepted[0]?.closes === 1);
});
