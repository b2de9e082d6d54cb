/**
 * docs/conformance.md: joins the clauses with the tests that cite them. A citation is a string in a test
 * file: "... [MQTT-3.8.4-6, 3.9.3-1]" with the numbers of MQTT 5.0, or "[v3.1.1 MQTT-3.1.2-5]" and
 * "[v5 MQTT-3.1.2-5]", since both specifications use the same numbers for different demands.
 * `npm run conformance` writes the document.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { type Clause, clauses } from "./clauses.js";

const root = fileURLToPath(new URL("../../..", import.meta.url));
export const documentPath = join(root, "docs/conformance.md");

type Edition = keyof typeof clauses;

/** Tests that cite numbers of 3.1.1 without saying so, where MQTT 5.0 uses them for something else. */
const of311: Readonly<Record<string, readonly string[]>> = {
  "a password without user name": ["3.1.2-22"],
  several: ["3.8.4-4"],
  "topic names": ["4.7.1-1"],
  "v${version} retained messages and their flag": ["3.3.1-6", "3.3.1-7", "3.3.1-8", "3.3.1-9"],
};
const idsOf5 = new Set(clauses.v5.map((clause) => clause.id));

const is311 = (name: string, id: string): boolean =>
  !idsOf5.has(id) || (of311[plain(name)]?.includes(id) ?? false);

interface Citation {
  /** test/file: name */
  readonly where: string;
  readonly edition: Edition;
  readonly id: string;
  /** Whether the test has clients of MQTT 3.1.1. */
  readonly runs311: boolean;
}

export interface Line extends Clause {
  readonly status: "tested" | "client's duty" | "by construction" | "missing";
  readonly tests: readonly string[];
}

/** Every citation in test/, and those of numbers that do not exist. */
export function citations(): Citation[] {
  const found: Citation[] = [];
  for (const name of readdirSync(join(root, "test"), {
    recursive: true,
    encoding: "utf8",
  }).sort()) {
    if (!name.endsWith(".test.ts") || name.startsWith("spec/conformance/conformance")) continue;
    found.push(...citationsIn(join(root, "test", name)));
  }
  return found;
}

export function linesOf(edition: Edition, all: readonly Citation[]): Line[] {
  return clauses[edition].map((clause) => {
    const mine = all.filter(
      (one) =>
        (one.edition === edition && one.id === clause.id) ||
        (edition === "v3.1.1" && one.edition === "v5" && one.runs311 && isSame(clause, one.id)),
    );
    // What is true by construction has its reason, and needs no test.
    const tests = clause.kind === "built" ? [] : [...new Set(mine.map((one) => one.where))];
    return { ...clause, tests, status: statusOf(clause, tests.length > 0) };
  });
}

const isSame = (clause: Clause, id: string): boolean => clause.same.includes(id);

function statusOf({ kind }: Clause, isTested: boolean): Line["status"] {
  if (kind === "client") return "client's duty";
  if (kind === "built") return "by construction";
  return isTested ? "tested" : "missing";
}

function citationsIn(path: string): Citation[] {
  const text = readFileSync(path, "utf8");
  const file = relative(root, path);
  const strings = [
    ...text.matchAll(/^(?! *(?:\/\/|\*|\/\*)).*?(["`])((?:(?!\1).)*\[(?:v[\d.]+ )?MQTT-.*?)\1/gm),
  ];
  return strings.flatMap((match, index) => {
    const name = match[2] ?? "";
    const isNamed = /\b(test|both)\(["`]/.test(match[0]);
    const body = text.slice(match.index, strings[index + 1]?.index ?? text.length);
    const runs311 = has311(file, match[0].includes("both(") ? "both" : isNamed ? body : text);
    return citedBy(name).map((cited) => ({ ...cited, where: `${file}: ${plain(name)}`, runs311 }));
  });
}

/** In test/spec a client is one of MQTT 3.1.1 unless it says otherwise; units elsewhere are of both. */
function has311(file: string, text: string): boolean {
  if (
    /both|versions|\[(3, )?4(, 5)?\]|version: [34]\b|kept4|four|v3|3\.1\.1|\$\{version\}/.test(text)
  ) {
    return true;
  }
  if (!/version: 5|five|kept5|v5|MQTT 5/.test(text)) return true;
  return file.startsWith("test/spec") && /MqttClient\.connect\(t, (broker\.)?port\)/.test(text);
}

/** The clauses that a name cites; "3.3.4-3..5" are three, a chapter alone is none. */
function citedBy(name: string): { edition: Edition; id: string }[] {
  return [...name.matchAll(/\[(v3\.1\.1 |v5 )?MQTT-([^\]]*)\]/g)].flatMap(
    ([, edition, list = ""]) =>
      list.split(/, /).flatMap((item) => {
        const parts = /^(?:MQTT-)?([\d.]*\d)-(\d+)(?:\.\.(\d+))?$/.exec(item);
        if (parts === null) return [];
        const [, chapter, first, last = first] = parts;
        const numbers = [];
        for (let n = Number(first); n <= Number(last); n++) numbers.push(`${chapter}-${n}`);
        return numbers.map((id) => {
          const isOld = edition === "v3.1.1 " || (edition === undefined && is311(name, id));
          return { edition: isOld ? "v3.1.1" : "v5", id } as const;
        });
      }),
  );
}

/** The name without its citations, fit for a cell. */
const plain = (name: string): string =>
  name
    .replace(/ *\[(v[\d.]+ )?MQTT-[^\]]*\]/g, "")
    .replace(/\|/g, "\\|")
    .trim();

export function document(): string {
  const all = citations();
  const parts = [
    "# Conformance",
    "",
    "Every numbered demand of MQTT 5.0 and MQTT 3.1.1, in words of our own, and what shows that the broker meets it:",
    "",
    "- `tested`: the tests named fail when it does not hold;",
    "- `client's duty`: it binds clients; where a violation must be refused, a test is named;",
    "- `by construction`: it cannot be otherwise, for the reason given.",
    "",
    "This file is written by `npm run conformance` from test/spec/conformance/clauses.ts and the names of the tests. A test of MQTT 5.0 is named for 3.1.1 too where both ask the same and it has clients of 3.1.1. MQTT 3.1 has no numbered demands; its clients are treated as those of 3.1.1 except for its protocol name and level, and its need of a client id.",
    "",
    ...suites(),
  ];
  for (const [edition, title] of [
    ["v5", "MQTT 5.0"],
    ["v3.1.1", "MQTT 3.1.1"],
  ] as const) {
    const lines = linesOf(edition, all);
    parts.push(
      `## ${title}`,
      "",
      counts(lines),
      "",
      "| Clause | What it asks | Shown by | Status |",
    );
    parts.push("|---|---|---|---|", ...lines.map(row), "");
  }
  return parts.join("\n");
}

/** What the tests of others say, and where they and the text differ. */
function suites(): string[] {
  return [
    "## Public suites",
    "",
    "`npm run test:mosquitto -- SOURCE` runs the byte tests of mosquitto's source (test/broker of 2.0.11), as they are, against nodes of ours with the same settings. What does not pass is written down with its reason and clause in test/suites/mosquitto/explained.ts, and nothing else may fail:",
    "",
    "| Suite | Tests | Passed | Explained | Of what we do not have |",
    "|---|---:|---:|---:|---:|",
    "| mosquitto 2.0.11, test/broker | 189 | 93 | 39 | 57 |",
    "",
    '"Of what we do not have" are bridges, plugins in C, pre-shared keys, lists of revoked certificates, message_size_limit and check_retain_source. Where the text of the specification names a reason code, that one is sent, also when mosquitto sends another (retain handling 3 and a SUBSCRIBE without filters: 0x82). Where it does not, it is the one that this suite expects: a PUBLISH on a topic with wildcards is 0x82, a property that does not belong to PUBLISH, SUBSCRIBE or UNSUBSCRIBE is 0x81. Packet ids number the messages that are due to a session: one that has expired, that is too large for the client, or that the access rules keep back leaves a gap. mosquitto takes any reason code in a DISCONNECT and lengths in longer forms; here MQTT 5 clients get 0x82 [MQTT-3.14.2-1] and 0x81 [MQTT-1.5.5-1] for them, and MQTT 3, which does not ask for the shortest form, allows it.',
    "",
    "Eclipse Paho's interoperability suites (client_test.py for 3.1.1, client_test5.py for 5.0) were read, not run. What they ask for is asked by test/spec/paho.test.ts: each QoS retained and removed below a wildcard, redelivery on reconnect, a second CONNECT and a wrong protocol name, topics that begin with a dollar sign, clients without an id, session expiry, properties at each QoS, subscription identifiers, request and response, aliases both ways (ours with the first message), packets over the client's maximum, server keep-alive, flow control both ways, share groups, unsubscribing; and by test/spec/will.test.ts, expiry.test.ts, subscribe.test.ts and test/net/limits.test.ts: wills and their delay, message expiry, subscription options, overlapping subscriptions, silent clients. They want `limits.keep_alive_max` 60 and rules that deny test/nosubscribe; client_test5.py takes only 0x80 for that, and MQTT 5 clients get 0x87, not authorized [MQTT5 3.9.3].",
    "",
    "The tests that come with aedes drive it inside their own process, and MQTT.js's package comes without its tests; test/spec/interop.test.ts and the differential test compare with both.",
    "",
  ];
}

export function counts(lines: readonly Line[]): string {
  const statuses = ["tested", "client's duty", "by construction", "missing"] as const;
  const some = statuses.map((status) => [status, lines.filter((l) => l.status === status).length]);
  const listed = some
    .filter(([, count]) => count !== 0)
    .map(([status, count]) => `${count} ${status}`);
  return `${lines.length} clauses: ${listed.join(", ")}.`;
}

function row({ id, words, why, tests, status }: Line): string {
  const shown = [why, ...tests.map(shortened)].filter((item) => item !== "").join("<br>");
  return `| [MQTT-${id}] | ${words} | ${shown} | ${status} |`;
}

const shortened = (where: string): string => where.replace(/^test\//, "");

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(documentPath, document());
