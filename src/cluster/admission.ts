/** Whether a node that has proved the cookie may come in, and the sentences for those that may not. */
import type { Member } from "./wire/messages.js";
import {
  type Identity,
  protocolVersion,
  Purpose,
  type PurposeCode,
  type RefuseAnswer,
  RefuseCode,
} from "./handshake.js";

/** Peers whose clocks are further apart would order stamps wrongly for too long. */
export const clockSkewMaxMs = 60_000;

export interface AdmissionView {
  readonly self: Identity;
  /** This node asked another one to take it in, and has no answer yet. */
  readonly joining: boolean;
  member(name: string): Member | undefined;
  /** Highest incarnation seen of that node; 0: none. */
  incarnationOf(name: string): number;
  /** Stamp at which this node left its cluster; 0: never. */
  readonly leftStamp: number;
}

/** Null: it may come in. */
export function admit(
  view: AdmissionView,
  peer: Identity,
  purpose: PurposeCode,
): RefuseAnswer | null {
  if (purpose === Purpose.names) return null;
  if (peer.id === view.self.id) return { code: RefuseCode.self, detail: "" };
  const skewMs = Math.round(Math.abs(peer.wallMs - view.self.wallMs));
  if (skewMs > clockSkewMaxMs) return { code: RefuseCode.clock, detail: String(skewMs) };
  if (purpose === Purpose.join) return null;
  const member = view.member(peer.name);
  if (member?.status === "removed" && member.id === peer.id) {
    return { code: RefuseCode.removed, detail: "" };
  }
  if (member?.status !== "in") {
    if (view.joining) return { code: RefuseCode.busy, detail: "" };
    const left = view.leftStamp > 0 ? String(view.leftStamp) : "";
    return { code: RefuseCode.notMember, detail: left };
  }
  if (member.id !== peer.id) return { code: RefuseCode.nameTaken, detail: "" };
  if (peer.incarnation < view.incarnationOf(peer.name)) {
    return { code: RefuseCode.stale, detail: "" };
  }
  return null;
}

/** What a refusal means for the operator of this node, and what to do. */
export function refusalSentence(answer: RefuseAnswer, self: string, peer: string): string {
  switch (answer.code) {
    case RefuseCode.wrongCookie:
      return `${peer} has another cookie: give all nodes of a cluster the same cookie file, or the same BROKER_COOKIE`;
    case RefuseCode.version:
      return (
        `${peer} speaks link protocol ${answer.detail} and this node ` +
        `${protocolVersion.lowest}-${protocolVersion.highest}: upgrade the older of the two first`
      );
    case RefuseCode.removed:
      return removedSentence(self);
    case RefuseCode.notMember:
      return `${peer} does not have ${self} as a member: run join_cluster again`;
    case RefuseCode.nameTaken:
      return nameTakenSentence(self);
    case RefuseCode.self:
      return `${peer} is this very node: a node cannot join itself`;
    case RefuseCode.clock:
      return `the clocks of ${peer} and this node are ${answer.detail} ms apart (at most ${clockSkewMaxMs} ms): set them right first`;
    case RefuseCode.stale:
      return `${peer} has already seen a later start of ${self}: another process may be running under this name`;
    case RefuseCode.busy:
      return `${peer} is busy with another change of members: try again`;
  }
}

export function removedSentence(name: string): string {
  return (
    `${name} was removed from this cluster and is not let in again with its old data: ` +
    "run join_cluster with --discard on it, which drops them, or start it with an empty data directory"
  );
}

export function nameTakenSentence(name: string): string {
  return (
    `the name ${name} is already taken by another node of the cluster: start the newcomer under another ` +
    `--node name, or first run remove_from_cluster ${name} if that node is gone for good`
  );
}
