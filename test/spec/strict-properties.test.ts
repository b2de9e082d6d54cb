/** Every property of MQTT 5 in every packet that a client sends: allowed or not, cut short, twice, too much. */
import { type Row, silence, table } from "./strict-wire.js";

const malformed = 0x81;
const protocolError = 0x82;

/** Id, a value, and the packets in which a client may send it. */
const properties: readonly [id: string, value: string, packets: string][] = [
  ["01", "01", "PUBLISH will"],
  ["02", "00000001", "PUBLISH will"],
  ["03", "'p'", "PUBLISH will"],
  ["08", "'p'", "PUBLISH will"],
  ["09", "'p'", "PUBLISH will"],
  ["0b", "01", "SUBSCRIBE"],
  ["11", "00000000", "CONNECT DISCONNECT"],
  ["12", "'p'", ""],
  ["13", "0005", ""],
  ["15", "'p'", ""],
  ["16", "'p'", ""],
  ["17", "00", "CONNECT"],
  ["18", "00000001", "will"],
  ["19", "00", "CONNECT"],
  ["1a", "'p'", ""],
  ["1c", "'p'", "DISCONNECT"],
  ["1f", "'p'", "DISCONNECT PUBACK PUBREC PUBREL PUBCOMP"],
  ["21", "0005", "CONNECT"],
  ["22", "0005", "CONNECT"],
  ["23", "0001", "PUBLISH"],
  ["24", "01", ""],
  ["25", "01", ""],
  [
    "26",
    "'p' 'q'",
    "CONNECT will PUBLISH SUBSCRIBE UNSUBSCRIBE DISCONNECT PUBACK PUBREC PUBREL PUBCOMP",
  ],
  ["27", "10000001", "CONNECT"],
  ["28", "01", ""],
  ["29", "01", ""],
  ["2a", "01", ""],
];
const unknown = [
  "00",
  "04",
  "0a",
  "10",
  "1e",
  "20",
  "2b",
  "7f",
  "8000",
  "8001",
  "ff7f",
  "ffffff7f",
];

interface Packet {
  readonly name: string;
  readonly before: string;
  readonly after: string;
  /** What comes back when it is accepted. */
  readonly answer: string | number;
  /** The reason when a property does not belong there. */
  readonly notAllowed: number;
  readonly first?: boolean;
}

const connack = "20[00 00 {22 000a 21 0014}]";
const packets: readonly Packet[] = [
  ...[
    { name: "CONNECT", before: "10['MQTT' 05 02 000a", after: "'p']" },
    { name: "will", before: "10['MQTT' 05 06 000a {} 'p'", after: "'w' 'x']" },
  ].map((one) => ({ ...one, answer: connack, notAllowed: protocolError, first: true })),
  ...[
    { name: "PUBACK", before: "40[0001 00", after: "]", answer: "" },
    { name: "PUBREC", before: "50[0001 00", after: "]", answer: "62[0001]" },
    { name: "PUBREL", before: "62[0001 00", after: "]", answer: "70[0001 92]" },
    { name: "PUBCOMP", before: "70[0001 00", after: "]", answer: "" },
    { name: "DISCONNECT", before: "e0[00", after: "]", answer: silence },
  ].map((one) => ({ ...one, notAllowed: protocolError })),
  ...[
    { name: "PUBLISH", before: "32['t' 0001", after: "78]", answer: "40[0001 10]" },
    { name: "SUBSCRIBE", before: "82[0001", after: "'t' 00]", answer: "90[0001 {} 00]" },
    { name: "UNSUBSCRIBE", before: "a2[0001", after: "'t']", answer: "b0[0001 {} 11]" },
  ].map((one) => ({ ...one, notAllowed: malformed })),
];

function rowsOf({ name, before, after, answer, notAllowed: elsewhere }: Packet): Row[] {
  const rows: Row[] = [];
  const row = (what: string, table: string, outcome: string | number): void => {
    rows.push([`${name}: ${what}`, `${before} {${table}} ${after}`, outcome]);
  };
  for (const [id, value, allowedIn] of properties) {
    const isAllowed = allowedIn.split(" ").includes(name);
    // It belongs to a server's PUBLISH [MQTT-3.3.4-6].
    const notAllowed = name === "PUBLISH" && id === "0b" ? protocolError : elsewhere;
    // A method in CONNECT begins an authentication.
    if (name === "CONNECT" && (id === "15" || id === "16")) continue;
    row(`${id}`, `${id} ${value}`, isAllowed ? answer : notAllowed);
    row(`${id} cut short`, id, malformed);
    if (id === "26") row("26 twice", `${id} ${value} ${id} ${value}`, answer);
    else
      row(`${id} twice`, `${id} ${value} ${id} ${value}`, isAllowed ? protocolError : notAllowed);
    row(`${id} before an unknown one`, `${id} ${value} 04 01`, malformed);
  }
  for (const id of unknown) row(`unknown property ${id}`, `${id} 01`, malformed);
  return rows;
}

for (const packet of packets) {
  table(`properties of ${packet.name} [MQTT5 2.2.2]`, [5], rowsOf(packet), {
    first: packet.first ?? false,
    settings: { limits: { topic_aliases: 10, receive_maximum: 20, max_packet: 268_435_455 } },
  });
}

const connect = (table: string): string => `10['MQTT' 05 02 000a {${table}} 'p']`;
const will = (table: string): string => `10['MQTT' 05 06 000a {} 'p' {${table}} 'w' 'x']`;
table(
  "values that no client may send",
  [5],
  [
    ["receive maximum 0", connect("21 0000"), protocolError],
    ["packet maximum 0", connect("27 00000000"), protocolError],
    ["problem information 2", connect("17 02"), protocolError],
    ["response information 2", connect("19 02"), protocolError],
    ["half a number of four bytes", connect("11 0000"), malformed],
    ["half a user property", connect("26 'p'"), malformed],
    ["text beyond the table", connect("26 'p' 0005 70"), malformed],
    ["payload format 2 in a will", will("01 02"), protocolError],
    ["response topic with a wildcard in a will", will("08 'a/+'"), protocolError],
    ["more user properties than limits.user_properties", connect("26 '' '' ".repeat(65)), 0x97],
  ],
  { first: true },
);
