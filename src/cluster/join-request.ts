/** Asks a node to take this one into its cluster: one connection, one question, one answer. */
import type { ClusterContext } from "./context.js";
import { type DialResult, type DialTarget, dialProved } from "./dial.js";
import { Purpose } from "./handshake.js";
import { FrameType, WireError } from "./wire/frames.js";
import { decode, decodeReply, encode, type Member, type ReplyBody } from "./wire/messages.js";
import type { Wire } from "./wire/wire.js";

const answerTimeoutMs = 10_000;

export type JoinAnswer =
  | {
      readonly kind: "reply";
      readonly reply: ReplyBody<"join">;
      /** Of the data directory of the node that answered. */
      readonly id: string;
    }
  /** Another node answers there. */
  | { readonly kind: "other"; readonly name: string }
  /** It proved the cookie and then broke off. */
  | { readonly kind: "silent" }
  | Exclude<DialResult, { kind: "proved" }>;

/** Calls `done` once, later. `members`: our own list, this node in it. */
export function requestJoin(
  context: ClusterContext,
  target: DialTarget,
  node: string,
  members: readonly Member[],
  done: (answer: JoinAnswer) => void,
): void {
  dialProved(context, target, Purpose.join, (result) => {
    if (result.kind !== "proved") done(result);
    else if (result.peer.name === node) ask(context, result.wire, result.peer.id, members, done);
    else {
      result.wire.destroy();
      done({ kind: "other", name: result.peer.name });
    }
  });
}

function ask(
  { clock }: ClusterContext,
  wire: Wire,
  id: string,
  members: readonly Member[],
  done: (answer: JoinAnswer) => void,
): void {
  const timer = clock.setTimer(answerTimeoutMs, () => wire.destroy());
  wire.onClose = () => {
    clock.clearTimer(timer);
    done({ kind: "silent" });
  };
  wire.listen((type, bytes, start, end) => {
    if (type !== FrameType.reply) throw new WireError("not a reply on a join connection");
    const reply = decodeReply("join", decode("reply", bytes, start, end).body);
    clock.clearTimer(timer);
    wire.onClose = () => undefined;
    wire.close();
    done({ kind: "reply", reply, id });
  });
  wire.send(encode("call", { id: 1, verb: "join", body: { members: [...members] } }));
}
