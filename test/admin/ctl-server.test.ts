/** The control socket: who gets in, what it refuses, and that it survives anything that is sent. */
import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createConnection, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { answers, liveNodes, request } from "../../src/admin/ctl-client.js";
import { ctlPath, requestBytesMax } from "../../src/admin/ctl-protocol.js";
import { openCtl } from "../../src/admin/ctl-server.js";
import { silentLog } from "../../src/lib/log.js";
import { type FakeOptions, fakeParts } from "./fake-parts.js";

const log = silentLog;

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), "trellis-ctl-"));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

async function open(t: TestContext, options: FakeOptions & { runDir?: string } = {}) {
  const { runDir = folder(t), ...fake } = options;
  const parts = fakeParts(fake);
  const server = await openCtl({ runDir, name: parts.cluster.name, parts, log });
  t.after(() => server.close());
  return { runDir, parts, path: server.path, server };
}

/** Writes raw bytes and collects everything until the other side closes or `lines` have come. */
function exchange(path: string, bytes: string | Buffer, lines: number): Promise<unknown[]> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(path, () => socket.write(bytes));
    let text = "";
    const finish = (): void => {
      socket.destroy();
      resolve(
        text
          .split("\n")
          .filter(Boolean)
          .map((line) => JSON.parse(line)),
      );
    };
    socket.on("data", (chunk) => {
      text += chunk.toString("utf8");
      if (text.split("\n").length > lines) finish();
    });
    socket.on("end", finish);
    socket.on("error", (error) => (text === "" ? reject(error) : finish()));
  });
}

test("the socket and a directory that it makes are for their owner only", async (t) => {
  const { path, runDir } = await open(t, { runDir: join(folder(t), "deep", "run") });
  assert.equal(path, ctlPath(runDir, "a@127.0.0.1"));
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.equal(statSync(runDir).mode & 0o777, 0o700);
});

test("a run directory that others can use, or that is none, is refused", async (t) => {
  const runDir = folder(t);
  chmodSync(runDir, 0o755);
  await assert.rejects(open(t, { runDir }), /others can get at the run directory .*chmod 700/);
  writeFileSync(join(runDir, "file"), "");
  await assert.rejects(
    open(t, { runDir: join(runDir, "file") }),
    /run directory .* cannot be made/,
  );
});

test("a socket path that the kernel would cut is refused", async (t) => {
  const runDir = join(folder(t), "d".repeat(80));
  await assert.rejects(open(t, { runDir }), /set node\.run_dir to a shorter path/);
});

test("a command is answered with data and text; several on one connection in order", async (t) => {
  const { path } = await open(t);
  const one = JSON.stringify({ command: "names", args: { host: "h" } });
  const two = JSON.stringify({ command: "log level" });
  assert.deepEqual(await exchange(path, `${one}\n${two}\n`, 2), [
    {
      ok: true,
      result: { nodes: [{ name: "a@127.0.0.1", host: "h", port: 4370 }] },
      text: "name         host  port\na@127.0.0.1  h     4370",
    },
    { ok: true, result: { level: "info" }, text: "The log level is info" },
  ]);
});

test("unknown commands and wrong arguments are refused as wrong usage", async (t) => {
  const { path } = await open(t);
  const refused: [object, RegExp][] = [
    [{ command: "reboot" }, /there is no command reboot/],
    [{ command: "toString" }, /there is no command toString/],
    [{ command: "join_cluster" }, /node: /],
    [{ command: "join_cluster", args: { node: "b@h", colour: 1 } }, /unknown argument colour/],
    [{ command: "clients list", args: { limit: 0 } }, /limit: /],
    [{ command: "publish", args: { topic: "t", qos: 3 } }, /qos: /],
    [{ command: "status", args: [] }, /not understood/],
    [{ cmd: "status" }, /not understood/],
  ];
  for (const [message, expected] of refused) {
    const [answer] = await exchange(path, `${JSON.stringify(message)}\n`, 1);
    // Whatever the shape of the answer is, the checks below name what is missing.
    const { ok, usage, error } = answer as { ok: boolean; usage: boolean; error: string };
    assert.deepEqual({ ok, usage }, { ok: false, usage: true });
    assert.match(error, expected);
  }
});

test("bytes that are no JSON get an answer, and the next request is served", async (t) => {
  const { path } = await open(t);
  const bytes = Buffer.concat([
    Buffer.of(0xff, 0, 0xfe, 10),
    Buffer.from('{"command":"status"}\n'),
  ]);
  const [garbage, status] = await exchange(path, bytes, 2);
  assert.deepEqual(garbage, { ok: false, error: "the request is not understood", usage: true });
  assert.equal((status as { ok: boolean }).ok, true);
});

test("a request that is too long ends its connection, not the server", async (t) => {
  const { path } = await open(t);
  const [answer] = await exchange(path, Buffer.alloc(requestBytesMax + 70_000, "x"), 1);
  assert.match((answer as { error: string }).error, /longer than 4194304 bytes/);
  const response = await request(path, { command: "status" });
  assert.ok("ok" in response && response.ok);
});

test("what the node refuses is a sentence; its bugs are answered too", async (t) => {
  const { path } = await open(t);
  const join = (node: string) => request(path, { command: "join_cluster", args: { node } });
  assert.deepEqual(await join("nobody@nowhere"), {
    ok: false,
    error: "no node answers as nobody@nowhere",
  });
  assert.deepEqual(await join("bug@nowhere"), {
    ok: false,
    error: "the command failed inside the node: TypeError: a bug",
  });
});

test("a connection too many is told so", async (t) => {
  const { path } = await open(t);
  const sockets = Array.from({ length: 64 }, () => createConnection(path));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
  });
  await Promise.all(
    sockets.map((socket) => new Promise((resolve) => socket.once("connect", resolve))),
  );
  const [answer] = await exchange(path, "", 1);
  assert.deepEqual(answer, { ok: false, error: "too many control connections" });
});

test("a second node of the same name is refused while the first answers", async (t) => {
  const { runDir } = await open(t);
  await assert.rejects(open(t, { runDir }), /a node named a@127\.0\.0\.1 runs already/);
  assert.deepEqual(await liveNodes(runDir), ["a@127.0.0.1"]);
});

test("a socket that nobody answers on is replaced", async (t) => {
  const runDir = folder(t);
  const path = ctlPath(runDir, "a@127.0.0.1");
  await leaveStaleSocket(path);
  assert.equal(await answers(path), false);
  assert.deepEqual(await liveNodes(runDir), []);
  await open(t, { runDir });
  assert.deepEqual(await liveNodes(runDir), ["a@127.0.0.1"]);
});

test("live nodes are listed by name; a missing directory has none", async (t) => {
  const runDir = folder(t);
  await open(t, { runDir, name: "z@h" });
  await open(t, { runDir, name: "b@h" });
  writeFileSync(join(runDir, "notes.txt"), "");
  assert.deepEqual(await liveNodes(runDir), ["b@h", "z@h"]);
  assert.deepEqual(await liveNodes(join(runDir, "none")), []);
});

test("after close nobody answers, and what was asked before is still answered", async (t) => {
  const { path, parts, server } = await open(t);
  const response = request(path, { command: "publish", args: { topic: "t" } });
  while (parts.asked.length === 0) await new Promise((resolve) => setImmediate(resolve));
  await server.close();
  assert.equal("ok" in (await response), true);
  await assert.rejects(request(path, { command: "status" }), /does not answer/);
});

test("a node that goes away or talks nonsense is a refusal for the client", async (t) => {
  const path = join(folder(t), "n.ctl.sock");
  const replies = ["", "nonsense\n", '{"ok":1}\n'];
  const server = createServer((socket) => socket.end(replies.shift() ?? ""));
  await new Promise<void>((resolve) => server.listen(path, resolve));
  t.after(() => server.close());
  await assert.rejects(request(path, { command: "status" }), /closed the connection/);
  await assert.rejects(request(path, { command: "status" }), /answer is not understood/);
  await assert.rejects(request(path, { command: "status" }), /answer is not understood/);
});

test("a node that does not answer in time is a refusal for the client", async (t) => {
  const path = join(folder(t), "n.ctl.sock");
  const server = createServer((socket) => void socket.resume());
  await new Promise<void>((resolve) => server.listen(path, resolve));
  t.after(() => server.close());
  await assert.rejects(request(path, { command: "status" }, 30), /no answer came within 30 ms/);
});

/** Leaves the file of a socket behind, as a killed process does. */
async function leaveStaleSocket(path: string): Promise<void> {
  const server = createServer();
  const hidden = `${path}.moved`;
  await new Promise<void>((resolve) => server.listen(hidden, resolve));
  renameSync(hidden, path);
  await new Promise((resolve) => server.close(resolve));
}
