/** The limits of channels between a connection and a session at another node. */
import assert from "node:assert/strict";
import { type LinkedNode, linkedNodes } from "../support/linked-nodes.js";
import { eventually, MqttClient, type Version } from "../support/mqtt-client.js";
import type { LimitCase, LimitTest, Limits } from "./support.js";

interface Ends {
  readonly session: LinkedNode;
  readonly connection: LinkedNode;
}

/** Two nodes with the limits of the case; the counters are those of the node of the sessions. */
async function ends(one: LimitTest, limits: Partial<Limits>): Promise<Ends> {
  const [session, connection] = await linkedNodes(one.t, 2, { limits });
  assert.ok(session !== undefined && connection !== undefined);
  one.watched = session;
  return { session, connection };
}

/** A persistent session that begins at its node; then its client asks for it at the other. */
async function comesBack(
  one: LimitTest,
  { session, connection }: Ends,
  version: Version,
  clientId: string,
): Promise<{ client: MqttClient; code: number }> {
  const properties = version === 5 ? { sessionExpiryInterval: 60 } : {};
  const options = { version, clientId, clean: false, properties };
  const first = await MqttClient.connect(one.t, session.port, options);
  await first.subscribe("t", 1);
  first.destroy();
  const { sessions } = session.frontEnd;
  await eventually(() => sessions.get(clientId)?.channel === null, "the session to be alone");
  const client = await MqttClient.open(one.t, connection.port);
  const { reasonCode, returnCode } = await client.handshake(options);
  return { client, code: reasonCode ?? returnCode ?? 0 };
}

export const channelCases = {
  channels: {
    counter: "remote.refused_full",
    async run(one) {
      const nodes = await ends(one, { channels: 1 });
      const first = await comesBack(one, nodes, 4, "first");
      assert.equal(first.code, 0);
      const four = await comesBack(one, nodes, 4, "four");
      assert.equal(four.code, 3);
      await four.client.closed();
      const five = await comesBack(one, nodes, 5, "five");
      assert.equal(five.code, 0x89);
      await five.client.closed();
      first.client.destroy();
      await eventually(() => nodes.session.remote.farSize === 0, "the channel to be gone");
      assert.equal((await comesBack(one, nodes, 5, "last")).code, 0);
      return 2;
    },
  },
  channel_bytes: {
    counter: "session.dropped_output_full",
    async run(one) {
      const limits = { channel_bytes: 65_536, connection_output_bytes: 65_536 };
      const nodes = await ends(one, limits);
      const { client, code } = await comesBack(one, nodes, 5, "slow");
      assert.equal(code, 0);
      client.pause();
      const { sessions } = nodes.session.frontEnd;
      const publisher = await MqttClient.connect(one.t, nodes.session.port);
      const payload = Buffer.alloc(50_000);
      const dropped = (): number => sessions.counters.droppedOutputFull;
      let sent = 0;
      while (dropped() < 10) {
        assert.ok(sent < 2_000, "nothing is dropped");
        publisher.publish("t", payload);
        sent++;
        publisher.send({ cmd: "pingreq" });
        await publisher.expect("pingresp");
      }
      // QoS 1 waits, and comes after all that was not dropped.
      publisher.publish("t", "last", { qos: 1, messageId: 1 });
      await publisher.expect("puback");
      assert.equal(sessions.get("slow")?.queued, 1);
      client.resume();
      for (let left = sent - dropped(); left > 0; left--) {
        assert.equal((await client.expect("publish")).payload.length, payload.length);
      }
      assert.equal((await client.expect("publish")).payload.toString(), "last");
      return dropped();
    },
  },
} satisfies Partial<Record<keyof Limits, LimitCase>>;
