/** A client's mistake: thrown by the codec and the handlers, caught in net/connection.ts alone. */
import { reasonName } from "./reason-codes.js";

export class ProtocolError extends Error {
  override name = "ProtocolError";

  /** `reason`: the MQTT 5 reason code that the client is told. */
  constructor(
    readonly reason: number,
    detail?: string,
  ) {
    super(detail ?? reasonName(reason));
  }
}
