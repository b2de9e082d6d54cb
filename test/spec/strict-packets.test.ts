/** Acknowledgements, PINGREQ, DISCONNECT, AUTH and what no client may send, byte by byte. */
import { type Row, silence, table } from "./strict-wire.js";

const malformed = 0x81;
const protocolError = 0x82;

/** Name, first byte, and what comes back when its id is unknown. */
const acks: readonly [string, string, string, string][] = [
  ["PUBACK", "4", "0", ""],
  ["PUBREC", "5", "0", "62[0001]"],
  ["PUBREL", "6", "2", "70[0001]"],
  ["PUBCOMP", "7", "0", ""],
];
for (const [name, type, flags, answer] of acks) {
  const first = `${type}${flags}`;
  table(
    `${name} in MQTT 3`,
    [3, 4],
    [
      ["of an unknown id", `${first}[0001]`, answer],
      ["packet id 0", `${first}[0000]`, protocolError],
      ["nothing", `${first}00`, malformed],
      ["half an id", `${first}01 00`, malformed],
      ["a byte left over", `${first}[0001 00]`, malformed],
      ["a length of five bytes", `${first} 8080808001`, malformed],
    ],
  );
  const others = ["0", "1", "2", "4", "8", "a"].filter((other) => other !== flags);
  table(
    `${name}: flags [MQTT-2.2.2-2, 3.6.1-1]`,
    [4, 5],
    others.map((other): Row => [`flags ${other}`, `${type}${other}[0001]`, malformed]),
  );
  const unknown = name === "PUBREL" ? "70[0001 92]" : answer;
  const failed = name === "PUBREL" || name === "PUBCOMP" ? "92" : "80";
  table(
    `${name} in MQTT 5`,
    [5],
    [
      ["of an unknown id [MQTT5 3.7.2.1]", `${first}[0001]`, unknown],
      ["with reason 0", `${first}[0001 00]`, unknown],
      ["with reason and properties", `${first}[0001 00 {}]`, unknown],
      ["with an error", `${first}[0001 ${failed}]`, name === "PUBREC" ? "" : unknown],
      [
        "reason string and user properties",
        `${first}[0001 00 {1f 'x' 26 'a' '' 26 'a' 'b'}]`,
        unknown,
      ],
      ["packet id 0", `${first}[0000 00]`, protocolError],
      ["nothing", `${first}00`, malformed],
      ["half an id", `${first}01 00`, malformed],
      ["an unknown reason", `${first}[0001 ff]`, protocolError],
      ["a reason of other packets", `${first}[0001 8e {}]`, protocolError],
      ["bytes left over", `${first}[0001 00 {} 00]`, malformed],
      ["properties beyond the end", `${first}[0001 00 01]`, malformed],
      ["reason string twice", `${first}[0001 00 {1f 'x' 1f 'y'}]`, protocolError],
      ["half a reason string", `${first}[0001 00 {1f 00}]`, malformed],
      ["a property of PUBLISH", `${first}[0001 00 {23 0001}]`, protocolError],
    ],
  );
}

table(
  "flags in MQTT 3.1 mean nothing",
  [3],
  [
    ["PUBREL sent again", "6a[0001]", "70[0001]"],
    ["SUBSCRIBE sent again", "8a[0001 't' 00]", "90[0001 00]"],
    ["UNSUBSCRIBE sent again", "aa[0001 't']", "b0[0001]"],
  ],
);

table(
  "PINGREQ",
  [3, 4, 5],
  [
    ["proper", "c000", "d000"],
    ["a byte left over", "c001 00", malformed],
  ],
);
table(
  "PINGREQ: flags",
  [4, 5],
  ["1", "2", "4", "8"].map((flag): Row => [`flags ${flag}`, `c${flag}00`, malformed]),
);

table(
  "DISCONNECT in MQTT 3",
  [3, 4],
  [
    ["proper", "e000", silence],
    ["a byte left over", "e001 00", malformed],
  ],
);
table(
  "DISCONNECT: flags [MQTT-3.14.1-1]",
  [4, 5],
  ["1", "2", "4", "8"].map((flag): Row => [`flags ${flag}`, `e${flag}00`, malformed]),
);
const reasons = [
  "00",
  "04",
  "80",
  "81",
  "82",
  "83",
  "90",
  "93",
  "94",
  "95",
  "96",
  "97",
  "98",
  "99",
];
const wrongReasons = ["01", "05", "87", "89", "8b", "8d", "8e", "9a", "a2", "ff"];
table(
  "DISCONNECT in MQTT 5",
  [5],
  [
    ["without a reason", "e000", silence],
    ...reasons.map((code): Row => [`reason ${code}`, `e0[${code}]`, silence]),
    ...wrongReasons.map(
      (code): Row => [`reason ${code} [MQTT-3.14.2-1]`, `e0[${code}]`, protocolError],
    ),
    ["reason and properties", "e0[82 {}]", silence],
    ["session expiry 0", "e0[00 {11 00000000}]", silence],
    ["session expiry after 0 in CONNECT [MQTT-3.14.2-2]", "e0[00 {11 00000001}]", protocolError],
    ["session expiry twice", "e0[00 {11 00000000 11 00000000}]", protocolError],
    ["half a session expiry", "e0[00 {11 0000}]", malformed],
    ["reason string", "e0[00 {1f 'p'}]", silence],
    ["reason string twice", "e0[00 {1f 'p' 1f 'q'}]", protocolError],
    ["user property", "e0[00 {26 'p' ''}]", silence],
    ["half a user property", "e0[00 {26 'p'}]", malformed],
    ["server reference", "e0[00 {1c 'p'}]", silence],
    ["a property of CONNECT", "e0[00 {21 0001}]", protocolError],
    ["unknown property", "e0[00 {04 00}]", malformed],
    ["bytes left over", "e0[00 {} 00]", malformed],
  ],
);

const longer: readonly Row[] = [
  ["PINGREQ", "c0 8000", malformed],
  ["PUBLISH", "30 868000 0001 74 {} 7878", malformed],
  ["PUBLISH of four bytes", "30 86808000 0001 74 {} 7878", malformed],
  ["SUBSCRIBE", "82 878000 0001 {} 't' 00", malformed],
  ["PUBACK", "40 828000 0001", malformed],
  ["DISCONNECT", "e0 8000", malformed],
];
table("lengths that are not in their shortest form [MQTT-1.5.5-1]", [5], longer);
table(
  "lengths that are not in their shortest form, which MQTT 3 allows",
  [3, 4],
  [
    ["PINGREQ", "c0 8000", "d000"],
    ["PUBLISH", "30 858000 0001 74 7878", ""],
    ["PUBLISH of four bytes", "30 85808000 0001 74 7878", ""],
    ["SUBSCRIBE", "82 868000 0001 't' 00", "90[0001 00]"],
    ["PUBACK", "40 828000 0001", ""],
    ["DISCONNECT", "e0 8000", silence],
  ],
);

table(
  "AUTH without a method in CONNECT [MQTT-4.12.0-7]",
  [5],
  [
    ["proper", "f0[18 {15 'x'}]", protocolError],
    ["nothing", "f000", protocolError],
    ["success", "f0[00]", protocolError],
    ["flags [MQTT-3.15.1-1]", "f100", malformed],
  ],
);

const server = [
  "20[0000]",
  "20[0000 {}]",
  "2000",
  "21[0000]",
  "90[0001 00]",
  "9000",
  "b0[0001]",
  "d000",
];
table(
  "what only a server sends, and type 0",
  [3, 4, 5],
  [
    ...server.map((sent): Row => ["a server's packet", sent, protocolError]),
    ...["0000", "0100", "0f00", "0001 00", "0ac0", "00 8080808001"].map(
      (sent): Row => ["type 0", sent, protocolError],
    ),
  ],
);
table(
  "what only a server sends, with flags",
  [4, 5],
  [
    ["SUBACK", "91[0001 00]", malformed],
    ["UNSUBACK", "b2[0001]", malformed],
    ["PINGRESP", "d100", malformed],
  ],
);
table(
  "AUTH in MQTT 3",
  [3, 4],
  [
    ["proper", "f000", silence],
    ["with content", "f001 00", silence],
    ["flags", "f100", silence],
  ],
);
