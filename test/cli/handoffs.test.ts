/** A connection that a worker had not taken when it ended goes to another one, or is closed. */
import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import type { ChildProcess } from "node:child_process";
import { test } from "node:test";
import { Handoffs } from "../../src/cli/workers/handoffs.js";

/** A worker that keeps what it was sent. */
class FakeWorker extends EventEmitter {
  connected = true;
  readonly sent: unknown[] = [];

  send(message: unknown, handle?: unknown): boolean {
    this.sent.push(handle === undefined ? message : [message, handle]);
    return true;
  }
}

function watched(handoffs: Handoffs): FakeWorker {
  const worker = new FakeWorker();
  // It has all that is used of a process.
  handoffs.watch(worker as unknown as ChildProcess);
  return worker;
}

function handed(): { closed: number; close(): void } {
  const handle = { closed: 0, close: () => void handle.closed++ };
  return handle;
}

const newConnection = (seq: number) => ({ cmd: "NODE_CLUSTER", act: "newconn", key: "k", seq });

test("what a worker had not taken when it ended goes to another, as it was", () => {
  const handoffs = new Handoffs();
  const [one, two] = [watched(handoffs), watched(handoffs)];
  const [taken, left] = [handed(), handed()];
  assert.equal(one.send(newConnection(1), taken), true);
  one.send(newConnection(2), left);
  one.send({ cmd: "NODE_CLUSTER", ack: 5, seq: 3 });
  one.emit("internalMessage", { cmd: "NODE_CLUSTER", ack: 1, accepted: true, seq: 9 });
  one.emit("exit", null, "SIGKILL");
  assert.deepEqual(two.sent, [[newConnection(2), left]]);
  // node:cluster has not heard of its end yet.
  one.send(newConnection(3), taken);
  assert.deepEqual(two.sent.at(-1), [newConnection(3), taken]);
  // That one ends, too, and nobody is left.
  two.emit("exit", 1, null);
  assert.deepEqual([taken.closed, left.closed], [1, 1]);
});

test("a worker that cannot be reached any more is passed over", () => {
  const handoffs = new Handoffs();
  const [one, gone, two] = [watched(handoffs), watched(handoffs), watched(handoffs)];
  gone.connected = false;
  one.send(newConnection(1), handed());
  one.emit("exit", 0, null);
  assert.deepEqual([gone.sent.length, two.sent.length], [0, 1]);
});
