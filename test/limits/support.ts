/** What a test of a limit is made of: a broker with the limit set low, and what its counter must say in the end. */
import type { TestContext } from "node:test";
import { collectMetrics } from "../../src/admin/node/metrics.js";
import type { Config } from "../../src/config/schema.js";
import { Message } from "../../src/routing/message.js";
import { type TestBroker, testBroker } from "../support/front-end.js";
import { type ConnectOptions, MqttClient } from "../support/mqtt-client.js";

export type Limits = Config["limits"];

/** What happens at a limit. `run` shows the policy and returns what the counter must have grown to. */
export interface LimitCase {
  /** Its name in `broker ctl metrics`, as docs/limits.md has it. */
  readonly counter: string;
  readonly settings?: Partial<Limits>;
  readonly connectionsMax?: number;
  run(one: LimitTest): Promise<number>;
}

export class LimitTest {
  /** The node whose counters count, if it is not the broker. */
  watched: Pick<TestBroker, "frontEnd" | "router"> | null = null;

  private constructor(
    readonly t: TestContext,
    readonly broker: TestBroker,
  ) {}

  static async begin(t: TestContext, { settings, connectionsMax }: LimitCase): Promise<LimitTest> {
    const broker = await testBroker(t, {
      settings: { limits: settings ?? {} },
      ...(connectionsMax === undefined ? {} : { connectionsMax }),
    });
    return new LimitTest(t, broker);
  }

  metric(name: string): number {
    const { frontEnd, router } = this.watched ?? this.broker;
    const { retained } = router;
    const { counters, sessions } = frontEnd;
    const session = sessions.counters;
    return (
      collectMetrics({
        net: { ...counters },
        session: { ...session },
        retained: retained.counters,
        ...(sessions.remote === null ? {} : { remote: sessions.remote.counters }),
      })[name] ?? 0
    );
  }

  open(): Promise<MqttClient> {
    return MqttClient.open(this.t, this.broker.port);
  }

  connect(version: 4 | 5, options: ConnectOptions = {}): Promise<MqttClient> {
    return MqttClient.connect(this.t, this.broker.port, { version, ...options });
  }

  /** A client that made a mistake: MQTT 5 hears why, MQTT 3 is closed without a word. */
  async closed(client: MqttClient, reason: number): Promise<void> {
    if (client.version === 5) {
      const code = (await client.expect("disconnect")).reasonCode;
      if (code !== reason) throw new Error(`0x${code?.toString(16)} in DISCONNECT`);
    }
    await client.closed();
    if (client.packets.length > 0) throw new Error(`unexpected ${client.packets[0]?.cmd}`);
  }

  /** Somebody on a topic who accepts a message only when told to. */
  stubborn(topic: string): (() => void)[] {
    const waiting: (() => void)[] = [];
    const deliver = (message: Message): boolean => {
      waiting.push(() => message.accept());
      return false;
    };
    const options = {
      qos: 2,
      noLocal: false,
      retainAsPublished: false,
      subscriptionId: 0,
    } as const;
    this.broker.router.subscribe({ clientId: "stubborn", deliver }, topic, options, false);
    return waiting;
  }

  /** A publish of the node itself. */
  publish(topic: string, payload: string | Buffer, qos: 0 | 1 | 2, retain = false): Message {
    const { router } = this.broker;
    const bytes = Buffer.from(payload);
    const record = router.topics.internName(topic);
    const message = new Message(record, qos, retain, "node", bytes, 0, 0, 0, bytes.length);
    router.publish(message);
    return message;
  }
}
