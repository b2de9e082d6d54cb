/** CONNECT, byte by byte: what is accepted, and how everything else is refused. */
import { test } from "node:test";
import { testBroker } from "../support/front-end.js";
import { type Row, silence, table, Wire } from "./strict-wire.js";

const malformed = 0x81;
const protocolError = 0x82;
const idNotValid = 0x85;

/** CONNACK of MQTT 5 with limits that need not be told. */
const settings = {
  limits: {
    topic_aliases: 10,
    receive_maximum: 20,
    max_packet: 268_435_455,
    max_packet_before_connect: 131_072,
  },
};
const connack5 = "20[00 00 {22 000a 21 0014}]";

const texts: readonly [string, string][] = [
  ["U+0000", "746f700000"],
  ["a surrogate", "746feda080"],
  ["an overlong form", "746fc0af70"],
  ["a lone byte", "746f70ff70"],
  ["beyond Unicode", "74f4908080"],
  ["U+0001", "746f700170"],
  ["U+001F", "746f701f70"],
  ["U+007F", "746f707f70"],
  ["U+009F", "746fc29f70"],
  ["U+FFFF", "746fefbfbf"],
  ["U+FDD0", "746fefb790"],
  ["U+1FFFE", "74f09fbfbe"],
];

table(
  "names and levels [MQTT-3.1.2-1, 3.1.2-2]",
  [4],
  [
    ["level 4", "10['MQTT' 04 02 000a 'p']", "20[00 00]"],
    ["level 3 of MQIsdp", "10['MQIsdp' 03 02 000a 'p']", "20[00 00]"],
    ["another name", "10['MQTU' 04 02 000a 'p']", silence],
    ["a shorter name", "10['MQT' 04 02 000a 'p']", silence],
    ["a longer name", "10['MQTTT' 04 02 000a 'p']", silence],
    ["no name", "10['' 04 02 000a 'p']", silence],
    ["a name in lower case", "10['mqtt' 04 02 000a 'p']", silence],
  ],
  { first: true },
);

test("levels that are not supported [MQTT-3.1.2-2]", async (t) => {
  const { port } = await testBroker(t);
  const cases: [string, string][] = [
    ["'MQTT' 00", "20[00 01]"],
    ["'MQTT' 03", "20[00 01]"],
    ["'MQTT' 84", "20[00 01]"], // a bridge's MQTT 3.1.1, which it tries again without its bit
    ["'MQIsdp' 04", "20[00 01]"],
    ["'MQIsdp' 83", "20[00 01]"],
    ["'MQTT' 06", "20[00 84 00]"],
    ["'MQTT' 85", "20[00 84 00]"],
  ];
  for (const [level, answer] of cases) {
    const client = await Wire.open(t, port, 4);
    client.send(`10[${level} 02 000a 'p']`);
    await client.closedAfter(answer);
  }
});

table(
  "CONNECT of MQTT 3.1",
  [3],
  [
    ["flags in its first byte mean nothing", "14['MQIsdp' 03 02 000a 'p']", "20[00 00]"],
    ["a user name flag without one", "10['MQIsdp' 03 82 000a 'p']", "20[00 00]"],
    ["a password flag without one", "10['MQIsdp' 03 c2 000a 'p' 'u']", "20[00 00]"],
    ["an id of 30 bytes", "10['MQIsdp' 03 02 000a '123456789012345678901234567890']", "20[00 00]"],
  ],
  { first: true },
);

test("a client without an id [MQTT-3.1.3-6..8]", async (t) => {
  const { port, frontEnd } = await testBroker(t);
  const cases: [string, string][] = [
    ["10['MQIsdp' 03 02 000a '']", "20[00 02]"],
    ["10['MQTT' 04 00 000a '']", "20[00 02]"],
  ];
  for (const [sent, answer] of cases) {
    const client = await Wire.open(t, port, 4);
    client.send(sent);
    await client.closedAfter(answer);
  }
  const clean = await Wire.open(t, port, 4);
  clean.send("10['MQTT' 04 02 000a '']");
  await clean.expect("20[00 00]");
  await clean.exchange("", "");
  clean.destroy();
  if (frontEnd.sessions.size > 1) throw new Error("a refused client has a session");
});

const flags: readonly Row[] = [
  ["first byte with flags", "11['MQTT' 04 02 000a 'p']", silence],
  ["first byte with flags", "18['MQTT' 04 02 000a 'p']", silence],
  ["the reserved flag [MQTT-3.1.2-3]", "10['MQTT' 04 03 000a 'p']", silence],
  ["will QoS without will [MQTT-3.1.2-11]", "10['MQTT' 04 0a 000a 'p']", silence],
  ["will QoS 2 without will", "10['MQTT' 04 12 000a 'p']", silence],
  ["will retain without will [MQTT-3.1.2-13]", "10['MQTT' 04 22 000a 'p']", silence],
  ["will QoS 3 [MQTT-3.1.2-12]", "10['MQTT' 04 1e 000a 'p' 'w' 'x']", silence],
  ["a will flag and nothing of it", "10['MQTT' 04 06 000a 'p']", silence],
  ["a will topic and no payload", "10['MQTT' 04 06 000a 'p' 'w']", silence],
  ["a will on a wildcard", "10['MQTT' 04 06 000a 'p' 'w/#' 'x']", silence],
  ["a will on no topic", "10['MQTT' 04 06 000a 'p' '' 'x']", silence],
  ["a will", "10['MQTT' 04 06 000a 'p' 'w' 'x']", "20[00 00]"],
  ["an empty will", "10['MQTT' 04 06 000a 'p' 'w' '']", "20[00 00]"],
  ["a password without its flag [MQTT-3.1.2-18]", "10['MQTT' 04 82 000a 'p' 'u' 's']", silence],
  ["a password flag, no password", "10['MQTT' 04 c2 000a 'p' 'u']", silence],
  ["a password without user name [MQTT-3.1.2-22]", "10['MQTT' 04 42 000a 'p' 's']", silence],
  ["a user name without its flag", "10['MQTT' 04 02 000a 'p' 'u']", silence],
  ["a user name flag, no name", "10['MQTT' 04 82 000a 'p']", silence],
  ["an empty user name", "10['MQTT' 04 82 000a 'p' '']", "20[00 00]"],
  ["user name and password", "10['MQTT' 04 c2 000a 'p' 'u' 's']", "20[00 00]"],
  ["a password of any bytes", "10['MQTT' 04 c2 000a 'p' 'u' 0003 00ffed]", "20[00 00]"],
  ["no client id", "10['MQTT' 04 02 000a]", silence],
  ["half a client id", "10['MQTT' 04 02 000a 0005 70]", silence],
  ["bytes left over", "10['MQTT' 04 02 000a 'p' 00]", silence],
  ["a length of five bytes", "10 8080808001", silence],
  ["a length not in its shortest form", "10 8d8000 'MQTT' 04 02 000a 'p'", "20[00 00]"],
  ["a length that ends early", "1007 'MQTT' 04 c2 003c 'p'", silence],
];
table("flags and fields of CONNECT", [4], flags, { first: true });

table(
  "text in CONNECT [MQTT-1.5.4-1, 1.5.4-2]",
  [4],
  texts.flatMap(([name, hex]): Row[] => [
    [`${name} in the client id`, `10['MQTT' 04 02 000a 0005 ${hex}]`, silence],
    [`${name} in the user name`, `10['MQTT' 04 82 000a 'p' 0005 ${hex}]`, silence],
    [`${name} in the will topic`, `10['MQTT' 04 06 000a 'p' 0005 ${hex} 'x']`, silence],
  ]),
  { first: true },
);

const mqtt5: readonly Row[] = [
  ["the least", "10['MQTT' 05 02 000a {} 'p']", connack5],
  ["a user name", "10['MQTT' 05 82 000a {} 'p' 'u']", connack5],
  ["a password without user name [MQTT5 3.1.2.9]", "10['MQTT' 05 42 000a {} 'p' 's']", connack5],
  ["a will", "10['MQTT' 05 06 000a {} 'p' {} 'w' 'x']", connack5],
  ["the reserved flag [MQTT-3.1.2-3]", "10['MQTT' 05 03 000a {} 'p']", malformed],
  ["will QoS without will", "10['MQTT' 05 0a 000a {} 'p']", malformed],
  ["will QoS 3", "10['MQTT' 05 1e 000a {} 'p' {} 'w' 'x']", malformed],
  ["will retain without will", "10['MQTT' 05 22 000a {} 'p']", malformed],
  ["a will on a wildcard", "10['MQTT' 05 06 000a {} 'p' {} 'w/+' 'x']", protocolError],
  ["a will on no topic", "10['MQTT' 05 06 000a {} 'p' {} '' 'x']", malformed],
  ["a will without properties", "10['MQTT' 05 06 000a {} 'p' 'w' 'x']", malformed],
  ["a user name flag, no name", "10['MQTT' 05 82 000a {} 'p']", malformed],
  ["a user name without its flag", "10['MQTT' 05 02 000a {} 'p' 'u']", malformed],
  ["no properties", "10['MQTT' 05 02 000a]", malformed],
  ["properties beyond the end", "10['MQTT' 05 02 000a 7f 'p']", malformed],
  ["a length not in its shortest form", "10 8e8000 'MQTT' 05 02 000a {} 'p'", malformed],
  ["a properties' length of five bytes", "10['MQTT' 05 02 000a 8080808001 'p']", malformed],
  ["a properties' length not in its shortest form", "10['MQTT' 05 02 000a 8000 'p']", malformed],
  ["a packet maximum too small for CONNACK", "10['MQTT' 05 02 000a {27 00000002} 'p']", silence],
  ["an unknown method [MQTT-4.12.0-1]", "10['MQTT' 05 02 000a {15 'x' 16 'y'} 'p']", 0x8c],
  ["data without a method", "10['MQTT' 05 02 000a {16 'y'} 'p']", protocolError],
];
table("flags and fields of CONNECT", [5], mqtt5, { first: true, settings });

table(
  "text in CONNECT [MQTT-1.5.4-1, 1.5.4-2, 3.1.3-8]",
  [5],
  texts.flatMap(([name, hex]): Row[] => [
    [`${name} in the client id`, `10['MQTT' 05 02 000a {} 0005 ${hex}]`, idNotValid],
    [`${name} in the user name`, `10['MQTT' 05 82 000a {} 'p' 0005 ${hex}]`, malformed],
    [`${name} in the will topic`, `10['MQTT' 05 06 000a {} 'p' {} 0005 ${hex} 'x']`, malformed],
    [`${name} in a user property`, `10['MQTT' 05 02 000a {26 'a' 0005 ${hex}} 'p']`, malformed],
  ]),
  { first: true },
);

test("an assigned client id has a fixed form [MQTT-3.2.2-16]", async (t) => {
  const { port } = await testBroker(t, { settings });
  const client = await Wire.open(t, port, 5);
  client.send("10['MQTT' 05 02 000a {} '']");
  await client.expect('2035 0000 32 22000a 12 0029 "auto-"');
  const id = Buffer.from(client.hex.slice(0, 72), "hex").toString();
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(id)) throw new Error(id);
});

for (const version of [3, 4, 5] as const) {
  test(`v${version} a second CONNECT closes the connection [MQTT-3.1.0-2]`, async (t) => {
    const { port } = await testBroker(t);
    const client = await Wire.connected(t, port, version);
    client.send(
      version === 3 ? "10['MQIsdp' 03 02 000a 'p']" : `10['MQTT' 0${version} 02 000a {} 'p']`,
    );
    await client.closedAfter(version === 5 ? "e0[82]" : "");
  });
}

table(
  "packets before CONNECT [MQTT-3.1.0-1]",
  [4, 5],
  [
    "00[]",
    "20[0000]",
    "30['t' {} 78]",
    "40[0001]",
    "50[0001]",
    "62[0001]",
    "70[0001]",
    "82[0001 {} 't' 00]",
    "90[0001 00]",
    "a2[0001 {} 't']",
    "b0[0001]",
    "c000",
    "d000",
    "e000",
    "f000",
  ].map((sent): Row => ["before CONNECT", sent, silence]),
  { first: true },
);
