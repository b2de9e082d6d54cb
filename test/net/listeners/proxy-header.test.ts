/** The PROXY protocol header, byte by byte, as haproxy.org's specification of 2020/03/05 has it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { parseProxyHeader } from "../../../src/net/listeners/proxy-header.js";

const magic = "0d0a0d0a000d0a515549540a";

function binary(rest: string): Buffer {
  return Buffer.from(magic + rest.replaceAll(" ", ""), "hex");
}

function read(bytes: Buffer): string {
  const header = parseProxyHeader(bytes);
  if (header.state !== "whole") return header.state;
  return `${header.length} ${header.host} ${header.port}`;
}

test("version 1 gives the client's address, and what follows is not its own", () => {
  const lines: Record<string, string> = {
    "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n": "47 192.168.0.1 56324",
    "PROXY TCP6 2001:db8::1 ::1 1 65535\r\n": "36 2001:db8::1 1",
    "PROXY UNKNOWN\r\n": "15 null 0",
    [`PROXY UNKNOWN ${"f".repeat(91)}\r\n`]: "107 null 0",
  };
  for (const [line, expected] of Object.entries(lines)) {
    assert.equal(read(Buffer.from(line)), expected);
    assert.equal(read(Buffer.from(`${line}\x10\x0c\r\n`)), expected);
  }
});

test("every beginning of a header is one that goes on", () => {
  const whole = [
    Buffer.from("PROXY TCP4 10.0.0.1 10.0.0.2 5 6\r\n"),
    binary("21 11 000c 0a000001 0a000002 0005 0006"),
  ];
  for (const bytes of whole) {
    for (let end = 0; end < bytes.length; end++) {
      assert.equal(parseProxyHeader(bytes.subarray(0, end)).state, "more", `${end}`);
    }
    assert.equal(parseProxyHeader(bytes).state, "whole");
  }
});

test("what is not exactly right in version 1 is malformed", () => {
  const wrong = [
    "PROXY TCP4 10.0.0.1 10.0.0.2 5\r\n",
    "PROXY TCP4 10.0.0.1 10.0.0.2 5 6 7\r\n",
    "PROXY TCP4  10.0.0.1 10.0.0.2 5 6\r\n",
    "PROXY TCP4 10.0.0.256 10.0.0.2 5 6\r\n",
    "PROXY TCP4 ::1 ::1 5 6\r\n",
    "PROXY TCP6 10.0.0.1 10.0.0.2 5 6\r\n",
    "PROXY TCP4 10.0.0.1 10.0.0.2 05 6\r\n",
    "PROXY TCP4 10.0.0.1 10.0.0.2 5 65536\r\n",
    "PROXY TCP5 10.0.0.1 10.0.0.2 5 6\r\n",
    "PROXY UDP4 10.0.0.1 10.0.0.2 5 6\r\n",
    "PROXY \r\n",
    "proxy TCP4 10.0.0.1 10.0.0.2 5 6\r\n",
    `PROXY UNKNOWN ${"f".repeat(92)}\r\n`,
    `PROXY ${"f".repeat(200)}`,
    "\x10\x0c\x00\x04MQTT",
  ];
  for (const line of wrong) assert.equal(read(Buffer.from(line, "latin1")), "malformed", line);
});

test("version 2 gives addresses of TCP over IPv4 and IPv6, and skips extensions", () => {
  const ipv4 = "0a000001 0a000002 c350 075b";
  const ipv6 = `20010db8 ${"00000000".repeat(2)} 00000001 ${"00".repeat(15)}01 0001 0002`;
  assert.equal(read(binary(`21 11 000c ${ipv4}`)), "28 10.0.0.1 50000");
  assert.equal(read(binary(`21 21 0024 ${ipv6}`)), "52 2001:db8::1 1");
  assert.equal(read(binary(`21 11 0013 ${ipv4} 04 0001 ff 05 0000 1000`)), "35 10.0.0.1 50000");
});

test("version 2: LOCAL, unknown families and Unix sockets leave the proxy's own address", () => {
  assert.equal(read(binary("20 00 0000")), "16 null 0");
  assert.equal(read(binary("20 11 0003 ffffff")), "19 null 0");
  assert.equal(read(binary("21 00 0000")), "16 null 0");
  assert.equal(read(binary(`21 31 00d8 ${"00".repeat(216)}`)), "232 null 0");
});

test("what is not exactly right in version 2 is malformed, and no header has over 536 bytes", () => {
  const ipv4 = "0a000001 0a000002 c350 075b";
  const wrong: Record<string, string> = {
    "version 1": `11 11 000c ${ipv4}`,
    "version 3": `31 11 000c ${ipv4}`,
    "command 2": `22 11 000c ${ipv4}`,
    datagrams: `21 12 000c ${ipv4}`,
    "family 4": `21 41 000c ${ipv4}`,
    "too short for its addresses": "21 11 000b 0a000001 0a000002 c350 07",
    "an extension beyond the end": `21 11 0010 ${ipv4} 04 0002 ff`,
    "half an extension": `21 11 000e ${ipv4} 04 00`,
    "too long": "20 00 0209",
  };
  for (const [what, rest] of Object.entries(wrong)) {
    assert.equal(read(binary(rest)), "malformed", what);
  }
  assert.equal(read(binary(`20 00 0208 ${"00".repeat(520)}`)), "536 null 0");
});
