/** Rules of sessions that more than one claim has to do with (design, section 6), broken on purpose. */
import { RemoteEnds } from "../../../src/session/remote/ends.js";
import type { AttachRecord } from "../../../src/session/remote/attach-record.js";
import { type Rule, replaceHidden } from "./rule.js";

type Method = (this: object, ...args: unknown[]) => unknown;

export const epochRules: readonly Rule[] = [
  {
    section: 6,
    rule: "every verb carries the epoch; a session refuses older ones",
    name: "a session is attached to by an older connection than it has",
    kind: "scenes",
    seed: 1,
    scene: "lateAttach",
    fault: /older epochs/,
    plant: () =>
      replaceHidden(
        RemoteEnds.prototype,
        "onAttach",
        (sound) =>
          function (this: RemoteEnds, link: object, number: number, record: AttachRecord) {
            const session = this.sessions.get(record.clientId);
            const epoch = Math.max(record.epoch, session?.epoch ?? 0);
            (sound as Method).call(this, link, number, { ...record, epoch });
          },
      ),
  },
  {
    section: 6,
    rule: "every verb carries the epoch; a session refuses older ones",
    name: "a session is ended by an older Clean Start than its connection",
    kind: "scenes",
    seed: 1,
    scene: "lateDiscard",
    fault: /older epochs/,
    plant: () =>
      replaceHidden(
        RemoteEnds.prototype,
        "onDiscard",
        (sound) =>
          function (this: RemoteEnds, clientId: string, _epoch: number, reply: object) {
            (sound as Method).call(this, clientId, Number.MAX_SAFE_INTEGER, reply);
          },
      ),
  },
];
