/** Networks of banned addresses, in all spellings. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { networkOf, Networks } from "../../../src/auth/bans/networks.js";

test("a network has one text, whatever it was written as", () => {
  const texts = [
    ["10.1.2.3", "10.1.2.3"],
    ["10.1.2.3/32", "10.1.2.3"],
    ["10.1.2.3/8", "10.0.0.0/8"],
    ["0.0.0.0/0", "0.0.0.0/0"],
    ["::ffff:10.1.2.3", "10.1.2.3"],
    ["::ffff:10.1.2.3/104", "10.0.0.0/8"],
    ["2001:DB8:0::1", "2001:db8::1"],
    ["2001:db8:ffff::1/32", "2001:db8::/32"],
    ["::/0", "::/0"],
    ["64:ff9b::1.2.3.4", "64:ff9b::102:304"],
  ] as const;
  for (const [written, text] of texts) assert.equal(networkOf(written)?.text, text, written);
});

test("what is no network is refused", () => {
  const wrong = ["", "x", "10.1.2", "10.1.2.3/33", "10.1.2.3/", "10.1.2.3/-1", "::1/129", "host/8"];
  for (const text of [...wrong, "::ffff:10.1.2.3/64"]) assert.equal(networkOf(text), null, text);
});

test("an address is found in all networks that it is in, and in no other", () => {
  const octet = fc.integer({ min: 0, max: 3 });
  const address = fc.tuple(octet, octet, octet, octet);
  const nets = fc.array(fc.tuple(address, fc.integer({ min: 0, max: 32 })), { maxLength: 20 });
  const numberOf = (bytes: readonly number[]): number =>
    bytes.reduce((sum, byte) => sum * 256 + byte, 0);
  const property = fc.property(nets, address, (written, asked) => {
    const networks = new Networks<string>();
    const wanted = new Set<string>();
    for (const [bytes, prefix] of written) {
      const network = networkOf(`${bytes.join(".")}/${prefix}`);
      assert.ok(network !== null);
      networks.set(network, network.text);
      const size = 2 ** (32 - prefix);
      const isIn = Math.floor(numberOf(bytes) / size) === Math.floor(numberOf(asked) / size);
      if (isIn) wanted.add(network.text);
    }
    assert.deepEqual(new Set(networks.find(asked.join("."))), wanted);
    assert.deepEqual(new Set(networks.find(`::ffff:${asked.join(".")}`)), wanted);
    for (const [bytes, prefix] of written) {
      const network = networkOf(`${bytes.join(".")}/${prefix}`);
      if (network !== null) networks.delete(network);
    }
    assert.deepEqual([...networks.find(asked.join("."))], []);
  });
  fc.assert(property, { numRuns: 200 });
});

test("IPv6, and what is no address", () => {
  const networks = new Networks<number>();
  const network = networkOf("2001:db8::/32");
  assert.ok(network !== null);
  networks.set(network, 1);
  assert.deepEqual([...networks.find("2001:db8:1::9")], [1]);
  assert.deepEqual([...networks.find("2001:db9::9")], []);
  assert.deepEqual([...networks.find("fe80::1%eth0")], []);
  assert.deepEqual([...networks.find("/run/mqtt.sock")], []);
});
