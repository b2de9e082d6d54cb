/** PUBLISH, byte by byte: reserved bits, ids, topics, aliases and what they are answered with. */
import { type Row, table } from "./strict-wire.js";

const malformed = 0x81;
const protocolError = 0x82;

const topics: readonly [string, string][] = [
  ["U+0000", "0005 746f700000"],
  ["a surrogate", "0005 746feda080"],
  ["an overlong form", "0005 746fc0af70"],
  ["a lone byte", "0005 746f70ff70"],
  ["U+0001", "0005 746f700170"],
  ["U+001F", "0005 746f701f70"],
  ["U+007F", "0005 746f707f70"],
  ["U+0080", "0005 746fc28070"],
  ["U+009F", "0005 746fc29f70"],
  ["U+FFFE", "0005 746fefbfbe"],
  ["U+FDEF", "0005 746fefb7af"],
  ["U+10FFFF", "0005 74f48fbfbf"],
];
const wildcards: readonly [string, string][] = [
  ["+", "'a/+/b'"],
  ["a + in a name", "'+opic'"],
  ["#", "'a/#'"],
  ["a # in a name", "'#opic'"],
];

table(
  "topic names [MQTT-3.3.2-1, 3.3.2-2, 4.7.1-1]",
  [3, 4, 5],
  [
    ...topics.map(([name, topic]): Row => [name, `31[${topic} {} 78]`, malformed]),
    ...wildcards.map(([name, topic]): Row => [name, `31[${topic} {} 78]`, protocolError]),
    ["empty [MQTT-4.7.3-1]", "31['' {} 78]", protocolError],
    ["U+FEFF [MQTT-1.5.4-3]", "30[0005 efbbbf6161 {} 78]", ""],
    ["U+2A6D4", "30[0005 41f0aa9b94 {} 78]", ""],
    ["U+00A0", "30[0004 61c2a061 {} 78]", ""],
    ["a space", "30[' ' {} 78]", ""],
    ["slashes", "30['//' {} 78]", ""],
    ["over limits.topic_bytes", `31['${"t".repeat(4097)}' {} 78]`, 0x90],
    ["over limits.topic_levels", `31['${"/".repeat(128)}' {} 78]`, 0x90],
  ],
);

table(
  "first bytes and ids of PUBLISH",
  [3, 4, 5],
  [
    ["QoS 3 [MQTT-3.3.1-4]", "37['t' 0001 {} 78]", malformed],
    ["QoS 3 without an id", "36['t' {} 78]", malformed],
    ["DUP with QoS 0 [MQTT-3.3.1-2]", "39['t' {} 78]", malformed],
    ["packet id 0 with QoS 1 [MQTT-2.2.1-3]", "33['t' 0000 {} 78]", protocolError],
    ["packet id 0 with QoS 2", "35['t' 0000 {} 78]", protocolError],
    ["nothing at all", "3000", malformed],
    ["half a length", "3001 00", malformed],
    ["a topic beyond the end", "3003 0005 74", malformed],
    ["no packet id", "3203 0001 74", malformed],
    ["half a packet id", "3204 0001 7400", malformed],
    ["a length of five bytes", "30 8080808001", malformed],
    ["a length of five bytes, cut short", "30 ffffffff", malformed],
    ["no payload", "30['t' {}]", ""],
    ["retained, no payload", "31['t' {}]", ""],
    ["a payload of any bytes", "30['t' {} 00ff80]", ""],
    ["QoS 2, DUP", "3c['t' 04d2 {} 78]", "50[04d2]"],
    ["QoS 2 to its end", "34['t' 04d2 {} 78] 62[04d2]", "50[04d2] 70[04d2]"],
    [
      "QoS 2 sent again",
      "34['t' 0001 {}] 3c['t' 0001 {} 70] 34['t' 0001 {}]",
      "50[0001] 50[0001] 50[0001]",
    ],
  ],
);

table(
  "PUBACK",
  [3, 4],
  [
    ["of QoS 1", "32['t' 04d2 78]", "40[04d2]"],
    ["of QoS 1 with DUP", "3a['t' ffff 78]", "40[ffff]"],
    ["of a reserved topic", "32['$SYS/x' 0001 78]", "40[0001]"],
  ],
);

table(
  "PUBACK",
  [5],
  [
    ["of QoS 1: nobody subscribed", "32['t' 04d2 {} 78]", "40[04d2 10]"],
    ["of QoS 1 with DUP", "3a['t' 04d2 {} 78]", "40[04d2 10]"],
    [
      "of QoS 1 to a subscriber",
      "82[0001 {} 't' 00] 32['t' 0001 {} 78]",
      "90[0001 {} 00] 40[0001] 30['t' {} 78]",
    ],
    ["of a reserved topic", "32['$SYS/x' 0001 {} 78]", "40[0001 87]"],
    ["of a topic that nobody can subscribe to", "32['$share/g/t' 0001 {} 78]", "40[0001 87]"],
    ["PUBREC of a reserved topic", "34['$SYS/x' 0001 {} 78] 62[0001]", "50[0001 87] 70[0001 92]"],
  ],
);

table(
  "properties of PUBLISH",
  [5],
  [
    ["none", "3003 0001 74", malformed],
    ["beyond the end", "30['t' 05 01]", malformed],
    ["a length of five bytes", "30['t' 8080808001 78]", malformed],
    ["a length not in its shortest form", "30['t' 8000 78]", malformed],
    ["alias 0 [MQTT-3.3.2-8]", "31['t' {23 0000} 78]", 0x94],
    ["alias over the maximum [MQTT-3.3.2-9]", "31['t' {23 0021} 78]", 0x94],
    ["an alias that was never set", "31['' {23 0001} 78]", protocolError],
    ["an alias, set and used", "30['t' {23 0020} 78] 30['' {23 0020} 78]", ""],
    ["subscription identifier [MQTT-3.3.4-6]", "31['t' {0b 01} 78]", protocolError],
    ["response topic with a wildcard [MQTT-3.3.2-14]", "31['t' {08 'a/#'} 78]", protocolError],
    ["response topic that is empty", "31['t' {08 ''} 78]", protocolError],
    ["response topic that is no text", "31['t' {08 0001 ff} 78]", malformed],
    ["payload format 2", "31['t' {01 02} 78]", protocolError],
    ["empty content type and correlation data", "32['t' 0001 {03 '' 09 ''} 78]", "40[0001 10]"],
    ["empty user properties", "32['t' 0001 {26 '' '' 26 '' ''} 78]", "40[0001 10]"],
    ["half a user property", "31['t' {26 'a'} 78]", malformed],
  ],
);

table(
  "a PUBLISH that is too large",
  [3, 4, 5],
  [
    ["by its header alone", "30 818001", 0x95],
    ["just not", `30['t' {} ${"78".repeat(16_300)}]`, ""],
  ],
  { settings: { limits: { max_packet: 16_384, max_packet_before_connect: 16_384 } } },
);
