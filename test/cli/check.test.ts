/** `broker check`: what is well, and every way in which it is not. */
import assert from "node:assert/strict";
import { createServer } from "node:net";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { testBroker } from "../support/front-end.js";
import { folder, portOf } from "../net/listeners/support.js";
import { sourceDependencies } from "./real-node.js";
import { Place, until } from "./support.js";

async function check(t: TestContext, ...words: string[]) {
  return new Place(t, sourceDependencies()).run(["check", ...words]);
}

test("a broker that works answers by TCP and through a Unix socket, and refuses who may not come", async (t) => {
  const path = join(folder(t), "mqtt.sock");
  const broker = await testBroker(t, {
    settings: { listeners: { unix: { enabled: true, path, anonymous: true } } },
  });
  const tcp = await check(t, "--port", String(broker.port));
  assert.equal(tcp.code, 0, tcp.errors);
  assert.match(tcp.output, /^127\.0\.0\.1:\d+ answers: a QoS 1 message came back in \d+ ms$/m);
  const unix = await check(t, "--socket", path);
  assert.equal(unix.code, 0, unix.errors);
  const bySettings = await check(
    ...[t, "--set", "listeners.unix.enabled=true", "--set", `listeners.unix.path=${path}`],
  );
  assert.match(bySettings.output, /mqtt\.sock answers/);
  await until(() => broker.frontEnd.sessions.size === 0);

  const strict = await testBroker(t, { settings: { auth: { anonymous: false } } });
  const refused = await check(t, "--port", String(strict.port));
  assert.equal(refused.code, 1);
  assert.match(refused.errors, /^Error: 127\.0\.0\.1:\d+: .*CONNACK refused: code 5/);
  assert.ok(portOf(broker, "tcp") > 0);
});

test("nobody there, somebody silent, no listener to be checked, and wrong usage", async (t) => {
  const silent = createServer();
  t.after(() => silent.close());
  await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
  const address = silent.address();
  assert.ok(typeof address === "object" && address !== null);
  const late = await check(t, "--port", String(address.port), "--timeout", "1");
  assert.deepEqual([late.code, /no answer within 1 s/.test(late.errors)], [1, true]);
  const gone = await check(t, "--socket", "/nonexistent/mqtt.sock");
  assert.match(gone.errors, /^Error: \/nonexistent\/mqtt\.sock: .*ENOENT/);
  const none = await check(t, "--set", "listeners.tcp.enabled=false");
  assert.match(none.errors, /no listener of the settings can be checked/);
  const behindProxy = ["tcp.proxy_protocol=true", "tcp.trusted_proxies=10.0.0.1"];
  const proxied = await check(t, ...behindProxy.flatMap((set) => ["--set", `listeners.${set}`]));
  assert.match(proxied.errors, /no listener of the settings can be checked/);
  const wrong = await check(t, "--timeout", "x");
  assert.equal(wrong.code, 2);
  const missing = await check(t, "--port", "1", "--user", "a", "--password-file", "/nonexistent");
  assert.match(missing.errors, /the file \/nonexistent cannot be read/);
});
