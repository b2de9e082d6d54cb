/** SUBSCRIBE and UNSUBSCRIBE, byte by byte. */
import { type Row, table } from "./strict-wire.js";

const malformed = 0x81;
const protocolError = 0x82;

const noFilters: readonly [string, string][] = [
  ["empty [MQTT-4.7.3-1]", "''"],
  ["# in the midst [MQTT-4.7.1-1]", "'a/#/b'"],
  ["# not alone in its level", "'a#'"],
  ["+ not alone in its level [MQTT-4.7.1-2]", "'a+/b'"],
  ["U+0000 [MQTT-4.7.3-2]", "0003 610062"],
  ["a surrogate", "0005 746feda080"],
  ["an overlong form", "0002 c0af"],
  ["U+0001", "0003 610162"],
  ["U+009F", "0004 61c29f62"],
  ["U+FFFF", "0003 efbfbf"],
];

for (const [name, head, tail] of [
  ["SUBSCRIBE", "82", "00"],
  ["UNSUBSCRIBE", "a2", ""],
] as const) {
  table(
    `${name}: filters`,
    [3, 4, 5],
    noFilters.flatMap(([fault, filter]): Row[] => [
      [fault, `${head}[0001 {} ${filter} ${tail}]`, malformed],
      [`${fault}, the second`, `${head}[0001 {} 'a' ${tail} ${filter} ${tail}]`, malformed],
    ]),
  );
  const flags = ["0", "3", "4", "6", "a"].map(
    (flag): Row => [
      `flags ${flag} [MQTT-3.8.1-1, 3.10.1-1]`,
      `${head[0]}${flag}[0001 {} 't' ${tail}]`,
      malformed,
    ],
  );
  table(`${name}: flags`, [4, 5], flags);
  table(
    `${name}: lengths and ids`,
    [3, 4, 5],
    [
      ["packet id 0 [MQTT-2.2.1-3]", `${head}[0000 {} 't' ${tail}]`, malformed],
      ["nothing at all", `${head}00`, malformed],
      ["half a packet id", `${head}01 00`, malformed],
      ["half a length", `${head}[0001 {} 00]`, malformed],
      ["a filter beyond the end", `${head}[0001 {} 0005 61]`, malformed],
      ["no filter [MQTT-3.8.3-2, 3.10.3-2]", `${head}[0001 {}]`, protocolError],
    ],
  );
}

table(
  "SUBSCRIBE: options",
  [3, 4],
  [
    ...["03", "04", "08", "10", "20", "40", "80", "ff"].map(
      (bits): Row => [`options ${bits} [MQTT-3.8.3-4]`, `82[0001 't' ${bits}]`, malformed],
    ),
    ["no options", "82[0001 't']", malformed],
    ["a byte left over", "82[0001 't' 00 00]", malformed],
    ["QoS 0", "82[04d2 't' 00]", "90[04d2 00]"],
    ["QoS 1", "82[04d2 't' 01]", "90[04d2 01]"],
    ["QoS 2", "82[04d2 't' 02]", "90[04d2 02]"],
    ["several [MQTT-3.8.4-4]", "82[ffff 'p' 02 'q' 00 'p' 01]", "90[ffff 02 00 01]"],
    ["over limits.topic_levels", `82[0001 '${"/".repeat(128)}' 01 'a' 01]`, "90[0001 80 01]"],
  ],
);

table(
  "SUBSCRIBE: options",
  [5],
  [
    ["QoS 3 [MQTT-3.8.3-5]", "82[0001 {} 't' 03]", malformed],
    ["reserved bit 6 [MQTT-3.8.3-5]", "82[0001 {} 't' 40]", malformed],
    ["reserved bit 7", "82[0001 {} 't' 80]", malformed],
    ["retain handling 3", "82[0001 {} 't' 30]", protocolError],
    ["no options", "82[0001 {} 't']", malformed],
    ["a byte left over", "82[0001 {} 't' 00 00]", malformed],
    ["QoS 2", "82[04d2 {} 't' 02]", "90[04d2 {} 02]"],
    ["no-local", "82[04d2 {} 't' 04]", "90[04d2 {} 00]"],
    ["retain as published", "82[04d2 {} 't' 08]", "90[04d2 {} 00]"],
    ["retain handling 1", "82[04d2 {} 't' 10]", "90[04d2 {} 00]"],
    ["retain handling 2, all else too", "82[04d2 {} 't' 2e]", "90[04d2 {} 02]"],
    ["several [MQTT-3.8.4-5]", "82[0001 {} 'p' 00 'q' 01]", "90[0001 {} 00 01]"],
    ["over limits.topic_levels", `82[0001 {} '${"/".repeat(128)}' 01 'a' 01]`, "90[0001 {} 8f 01]"],
    ["no properties", "8202 0001", malformed],
  ],
);

table(
  "SUBSCRIBE: subscription identifiers",
  [5],
  [
    ["1", "82[0001 {0b 01} 't' 00]", "90[0001 {} 00]"],
    ["127", "82[0001 {0b 7f} 't' 00]", "90[0001 {} 00]"],
    ["128", "82[0001 {0b 8001} 't' 00]", "90[0001 {} 00]"],
    ["268,435,455", "82[0001 {0b ffffff7f} 't' 00]", "90[0001 {} 00]"],
    ["0", "82[0001 {0b 00} 't' 00]", protocolError],
    ["twice", "82[0001 {0b 01 0b 02} 't' 00]", protocolError],
    ["not in its shortest form", "82[0001 {0b 8000} 't' 00]", malformed],
    ["of five bytes", "82[0001 {0b 8080808001} 't' 00]", malformed],
    ["missing", "82[0001 {0b} 't' 00]", malformed],
    ["in UNSUBSCRIBE", "a2[0001 {0b 01} 't']", malformed],
  ],
);

const noShares: readonly [string, string, number][] = [
  ["no filter", "'$share/g'", protocolError],
  ["an empty filter", "'$share/g/'", protocolError],
  ["an empty name", "'$share//t'", protocolError],
  ["nothing", "'$share'", protocolError],
  ["a + for a name", "'$share/+/t'", protocolError],
  ["a + in its name", "'$share/g+/t'", malformed],
  ["a # for a name", "'$share/#/t'", malformed],
  ["a malformed filter", "'$share/g/t#'", malformed],
];
table(
  "SUBSCRIBE: $share [MQTT-4.8.2-1, 4.8.2-2]",
  [3, 4, 5],
  [
    ...noShares.map(([fault, filter, reason]): Row => [fault, `82[0001 {} ${filter} 01]`, reason]),
    ["proper", "82[0001 {} '$share/g/t' 01]", "90[0001 {} 01]"],
  ],
);
table(
  "SUBSCRIBE: $share",
  [5],
  [["no-local [MQTT-3.8.3-4]", "82[0001 {} '$share/g/t' 04]", protocolError]],
);

table(
  "UNSUBACK",
  [3, 4],
  [
    ["of no subscription [MQTT-3.10.4-5]", "a2[04d2 't']", "b0[04d2]"],
    ["of two", "82[0001 't' 00] a2[0002 't' 'u']", "90[0001 00] b0[0002]"],
  ],
);
table(
  "UNSUBACK",
  [5],
  [
    ["of no subscription", "a2[04d2 {} 't']", "b0[04d2 {} 11]"],
    [
      "of two [MQTT-3.11.3-1]",
      "82[0001 {} 't' 00] a2[0002 {} 't' 'u']",
      "90[0001 {} 00] b0[0002 {} 00 11]",
    ],
    ["a malformed $share filter was never subscribed", "a2[0001 {} '$share/g']", "b0[0001 {} 11]"],
  ],
);
