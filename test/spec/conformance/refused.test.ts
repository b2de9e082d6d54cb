/** Bytes that must be refused, in both versions: closed, in MQTT 5.0 with a reason code first. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { testBroker } from "../../support/front-end.js";
import { MqttClient } from "../../support/mqtt-client.js";
import { answerTo, both, connectBytes, type Edition, field, none, packet } from "./both.js";

/** No UTF-8: a lone byte, an overlong form, a surrogate, beyond Unicode. */
const illFormed = [[0xff], [0xc0, 0xaf], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80]];
const withNull = [0x61, 0x00, 0x62];

/** Every one of these, sent after CONNECT, closes; nothing but a DISCONNECT of 0x80 or more comes back. */
async function allClose(
  t: TestContext,
  version: Edition,
  cases: readonly (readonly number[])[],
): Promise<void> {
  const { port, router } = await testBroker(t);
  for (const bytes of cases) {
    const client = await MqttClient.connect(t, port, { version });
    client.hex = "";
    client.raw(bytes);
    await client.closed();
    const hex = Buffer.from(bytes).toString("hex");
    if (version === 4) assert.equal(client.hex, "", `after ${hex}`);
    else assert.match(client.hex, /^e001[89a]./, `after ${hex}`);
  }
  assert.equal(router.retained.size, 0);
}

/** Every one of these, sent as CONNECT, closes; at most a CONNACK that refuses comes back. */
async function allRefused(
  t: TestContext,
  version: Edition,
  cases: readonly (readonly number[])[],
): Promise<void> {
  const { port, frontEnd } = await testBroker(t);
  for (const bytes of cases) {
    const answer = await answerTo(t, port, version, bytes);
    const hex = Buffer.from(bytes).toString("hex");
    const expected = version === 4 ? /^(20020002)?$/ : /^(200300[89a].00)?$/;
    assert.match(answer, expected, `after ${hex}`);
  }
  assert.equal(frontEnd.sessions.size, 0);
}

both(
  "ill-formed text closes, wherever it stands [MQTT-1.5.4-1, 3.3.2-1, 3.8.3-1, 3.10.3-1]",
  async (t, version) => {
    const cases = illFormed.flatMap((text) => [
      packet(0x31, field(text), none(version)),
      packet(0x82, [0, 1], none(version), field(text), [0]),
      packet(0xa2, [0, 1], none(version), field(text)),
    ]);
    await allClose(t, version, cases);
  },
);

both(
  "ill-formed text in CONNECT is refused [MQTT-1.5.4-1, 3.1.3-4, 3.1.3-11, 3.1.3-12]",
  async (t, version) => {
    const cases = [...illFormed, withNull].flatMap((text) => [
      connectBytes(version, 0x02, field(text)),
      connectBytes(version, 0x06, field("c"), none(version), field(text), field("x")),
      connectBytes(version, 0x82, field("c"), field(text)),
    ]);
    await allRefused(t, version, cases);
  },
);

both("U+0000 closes, wherever it stands [MQTT-1.5.4-2, 4.7.3-2]", async (t, version) => {
  await allClose(t, version, [
    packet(0x31, field(withNull), none(version)),
    packet(0x82, [0, 1], none(version), field(withNull), [0]),
    packet(0xa2, [0, 1], none(version), field(withNull)),
  ]);
});

test("v5: the texts of properties are proper too [MQTT-1.5.7-1, 3.3.2-13, 3.3.2-19]", async (t) => {
  const cases = [...illFormed, withNull].flatMap((text) =>
    [
      [0x26, ...field(text), ...field("v")],
      [0x26, ...field("k"), ...field(text)],
      [0x08, ...field(text)],
      [0x03, ...field(text)],
    ].map((property) => packet(0x30, field("t"), [property.length], property)),
  );
  await allClose(t, 5, cases);
});

test("v5: a response topic has no wildcards and a publish no subscription identifier [MQTT-3.3.2-14, 3.3.4-6]", async (t) => {
  const properties = [
    [0x08, ...field("a/+")],
    [0x08, ...field("#")],
    [0x0b, 1],
  ];
  await allClose(
    t,
    5,
    properties.map((property) => packet(0x30, field("t"), [property.length], property)),
  );
});

both(
  "reserved flags of every packet type are checked [MQTT-2.1.3-1, 3.6.1-1, 3.8.1-1, 3.10.1-1, 3.14.1-1]",
  async (t, version) => {
    const proper = [
      packet(0x40, [0, 1]),
      packet(0x50, [0, 1]),
      packet(0x62, [0, 1]),
      packet(0x70, [0, 1]),
      packet(0x82, [0, 1], none(version), field("t"), [0]),
      packet(0xa2, [0, 1], none(version), field("t")),
      packet(0xc0),
      packet(0xe0),
    ];
    const cases = proper.flatMap(([first = 0, ...rest]) => {
      const others = Array.from({ length: 16 }, (_, flags) => (first & 0xf0) | flags);
      return others.filter((other) => other !== first).map((other) => [other, ...rest]);
    });
    await allClose(t, version, cases);
  },
);

test("v5: AUTH's flags and reason code are checked [MQTT-3.15.1-1, 3.15.2-1]", async (t) => {
  const flags = Array.from({ length: 15 }, (_, index) => [0xf1 + index, 2, 0x18, 0]);
  await allClose(t, 5, [...flags, [0xf0, 2, 0x17, 0], [0xf0, 2, 0x80, 0]]);
});

both("QoS 3, and DUP with QoS 0, are malformed [MQTT-3.3.1-2, 3.3.1-4]", async (t, version) => {
  await allClose(t, version, [
    packet(0x36, field("t"), [0, 1], none(version)),
    packet(0x3e, field("t"), [0, 1], none(version)),
    packet(0x38, field("t"), none(version)),
  ]);
});

both(
  "a topic with wildcards, or empty, closes [MQTT-3.3.2-2, 4.7.0-1, 4.7.3-1]",
  async (t, version) => {
    const topics = ["#", "+", "a/+", "a/#", "a+", "a#b", ""];
    await allClose(
      t,
      version,
      topics.map((topic) => packet(0x31, field(topic), none(version))),
    );
  },
);

both(
  "misplaced wildcards and empty filters close [MQTT-4.7.1-1, 4.7.1-2, 4.7.3-1]",
  async (t, version) => {
    const filters = ["a#", "#/a", "a/#/b", "a+", "+a", "a/b+/c", ""];
    await allClose(
      t,
      version,
      filters.flatMap((filter) => [packet(0x82, [0, 1], none(version), field(filter), [0])]),
    );
  },
);

both("malformed shared filters close [MQTT-4.8.2-1, 4.8.2-2]", async (t, version) => {
  const filters = ["$share/g", "$share/g/", "$share//t", "$share/+/t", "$share/#/t", "$share/g+/t"];
  await allClose(
    t,
    version,
    filters.map((filter) => packet(0x82, [0, 1], none(version), field(filter), [0])),
  );
});

both("packet id 0 closes [MQTT-2.2.1-3]", async (t, version) => {
  await allClose(t, version, [
    packet(0x32, field("t"), [0, 0], none(version)),
    packet(0x34, field("t"), [0, 0], none(version)),
    packet(0x82, [0, 0], none(version), field("t"), [0]),
    packet(0xa2, [0, 0], none(version), field("t")),
  ]);
});

both(
  "SUBSCRIBE and UNSUBSCRIBE without a filter close [MQTT-3.8.3-2, 3.10.3-2]",
  async (t, version) => {
    await allClose(t, version, [
      packet(0x82, [0, 1], none(version)),
      packet(0xa2, [0, 1], none(version)),
    ]);
  },
);

both("subscription options: QoS 3 and reserved bits [MQTT-3.8.3-5]", async (t, version) => {
  const bits =
    version === 5 ? [0x03, 0x30, 0x40, 0x80, 0xc1] : [0x03, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80];
  await allClose(
    t,
    version,
    bits.map((options) => packet(0x82, [0, 1], none(version), field("t"), [options])),
  );
});

both(
  "packets that only a server sends, and that none sends, close [MQTT-4.13.1-1]",
  async (t, version) => {
    const cases = [
      packet(0x20, [0, 0], none(version)),
      packet(0x90, [0, 1], none(version), [0]),
      packet(0xb0, [0, 1], version === 5 ? [0, 0] : []),
      packet(0xd0),
      packet(0x00),
    ];
    await allClose(t, version, version === 5 ? cases : [...cases, packet(0xf0)]);
  },
);

both(
  "a length of five bytes, and packets too short for their fields, close [MQTT-4.13.1-1]",
  async (t, version) => {
    await allClose(t, version, [
      [0x30, 0x80, 0x80, 0x80, 0x80, 0x01],
      packet(0x30, [0, 9, 0x74]),
      packet(0x32, field("t"), [0]),
      packet(0x82, [0]),
      packet(0x40, [1]),
    ]);
  },
);

both(
  "CONNECT: flags and fields must agree [MQTT-3.1.2-9, 3.1.2-11..13, 3.1.2-16..19, 3.1.3-1, 3.1.3-3, 3.1.4-1] [v3.1.1 MQTT-3.1.2-12, 3.1.4-1]",
  async (t, version) => {
    const id = field("c");
    const will = [none(version), field("w"), field("x")];
    await allRefused(t, version, [
      connectBytes(version, 0x03, id), // the reserved flag
      connectBytes(version, 0x0a, id), // will QoS without a will
      connectBytes(version, 0x22, id), // will retain without a will
      connectBytes(version, 0x1e, id, ...will), // will QoS 3
      connectBytes(version, 0x06, id), // a will that is not there
      connectBytes(version, 0x02, id, ...will), // a will that was not announced
      connectBytes(version, 0x82, id), // no user name
      connectBytes(version, 0x02, id, field("u")), // a user name that was not announced
      connectBytes(version, 0xc2, id, field("u")), // no password
      connectBytes(version, 0x82, id, field("u"), field("p")), // a password that was not announced
      connectBytes(version, 0x02), // no client id
    ]);
  },
);

test("a malformed CONNECT of MQTT 3.1.1 closes without a CONNACK [v3.1.1 MQTT-3.1.4-1, 3.2.2-6]", async (t) => {
  const { port } = await testBroker(t);
  assert.equal(await answerTo(t, port, 4, connectBytes(4, 0x03, field("c"))), "");
  assert.equal(await answerTo(t, port, 4, connectBytes(4, 0x42, field("c"), field("p"))), "");
});

both(
  "other than CONNECT first, and a second CONNECT, close [MQTT-3.1.0-1, 3.1.0-2]",
  async (t, version) => {
    const { port } = await testBroker(t);
    for (const bytes of [packet(0x30, field("t"), none(version)), packet(0xc0), packet(0xe0)]) {
      assert.equal(await answerTo(t, port, version, bytes), "");
    }
    await allClose(t, version, [connectBytes(version, 0x02, field("c"))]);
  },
);

both(
  "another protocol name closes; another level is told [MQTT-3.1.2-1, 3.1.2-2]",
  async (t, version) => {
    const { port } = await testBroker(t);
    const named = packet(0x10, field("MQTQ"), [version, 2, 0, 0], none(version), field("c"));
    assert.match(await answerTo(t, port, version, named), version === 4 ? /^$/ : /^(20030084..)?$/);
    const level = packet(0x10, field("MQTT"), [version + 2, 2, 0, 0], none(version), field("c"));
    assert.match(await answerTo(t, port, version, level), /^(20020001|2003008400)$/);
  },
);

both("the reserved CONNECT flag must be 0 [MQTT-3.1.2-3]", async (t, version) => {
  await allRefused(t, version, [connectBytes(version, 0x03, field("c"))]);
});

test("v5: what a client says in acknowledgements is of its list [MQTT-3.4.2-1, 3.5.2-1, 3.6.2-1, 3.7.2-1]", async (t) => {
  await allClose(t, 5, [
    packet(0x40, [0, 1, 0x01]),
    packet(0x50, [0, 1, 0x92]),
    packet(0x62, [0, 1, 0x10]),
    packet(0x70, [0, 1, 0x80]),
  ]);
});
