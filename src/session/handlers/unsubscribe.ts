/** UNSUBSCRIBE: what was sent already is completed, nothing new is added [MQTT-3.10.4-2]. */
import { encodeUnsuback, type UnsubscribePacket } from "../../protocol/packets.js";
import { ReasonCode } from "../../protocol/reason-codes.js";
import type { Channel } from "../channel.js";
import type { Session } from "../session.js";

export function unsubscribe(session: Session, channel: Channel, packet: UnsubscribePacket): void {
  const codes: number[] = [];
  for (const filter of packet.filters) {
    // MQTT 3 has no word for this: its UNSUBACK waits for the store, and its connection is closed if that is too long.
    if (session.isStalled && channel.version === 5) {
      codes.push(ReasonCode.ImplementationSpecificError);
      continue;
    }
    const existed = session.unsubscribe(filter);
    codes.push(existed ? ReasonCode.Success : ReasonCode.NoSubscriptionExisted);
  }
  const answer = (): void => {
    if (session.channel !== channel) return;
    channel.send(encodeUnsuback(channel.version, packet.packetId, codes));
  };
  // Not before the SUBACKs of earlier requests.
  session.reply(answer, (ready) => {
    if (codes.includes(ReasonCode.Success)) session.whenDurable(ready);
    else ready();
  });
}
