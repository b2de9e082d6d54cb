/** A socket read directly is a stream like any other: order, pausing, the end, back-pressure. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { type TestContext, test } from "node:test";
import { readDirectly } from "../../src/lib/direct-reads.js";

/** Both ends of a connection; the server's is read directly. */
async function pair(t: TestContext): Promise<{ client: Socket; socket: Socket }> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const accepted = once(server, "connection");
  // It listens on a port.
  const client = connect((server.address() as AddressInfo).port, "127.0.0.1");
  const [socket] = (await accepted) as [Socket]; // of the event "connection"
  readDirectly(socket);
  t.after(() => {
    client.destroy();
    socket.destroy();
    server.close();
  });
  return { client, socket };
}

async function until(holds: () => boolean): Promise<void> {
  const deadline = Date.now() + 10_000;
  while (!holds()) {
    assert.ok(Date.now() < deadline, "in time");
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

test("bytes come in their order, then the end", async (t) => {
  const { client, socket } = await pair(t);
  const chunks: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  const ended = once(socket, "end");
  const sent = Buffer.from(Array.from({ length: 300_000 }, (_, i) => i % 251));
  for (let at = 0; at < sent.length; at += 50_000) client.write(sent.subarray(at, at + 50_000));
  client.end();
  await ended;
  assert.equal(Buffer.compare(Buffer.concat(chunks), sent), 0);
  await once(socket, "close");
});

test("while it is paused nothing comes, the sender is held up, and nothing is lost or out of order", async (t) => {
  const { client, socket } = await pair(t);
  const chunks: Buffer[] = [];
  let paused = false;
  socket.on("data", (chunk: Buffer) => {
    assert.equal(paused, false);
    chunks.push(chunk);
    paused = true;
    socket.pause();
  });
  const length = 12_000_000;
  const sent = Buffer.alloc(length, "0123456789abc");
  client.write(sent);
  await until(() => paused);
  // More than the stream holds stays in the system, and with the sender.
  await until(() => socket.readableLength >= socket.readableHighWaterMark);
  assert.ok(client.writableLength > 0);
  let received = 0;
  while (received < length) {
    paused = false;
    socket.resume();
    await until(() => paused);
    received = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  }
  assert.equal(Buffer.compare(Buffer.concat(chunks), sent), 0);
});

test("pausing and resuming in one turn changes nothing", async (t) => {
  const { client, socket } = await pair(t);
  let text = "";
  socket.on("data", (chunk: Buffer) => {
    text += chunk.toString();
    socket.pause();
    socket.resume();
  });
  for (const word of ["one ", "two ", "three"]) {
    const before = text.length;
    client.write(word);
    await until(() => text.length === before + word.length);
  }
  assert.equal(text, "one two three");
});
