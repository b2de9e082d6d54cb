/** Answers to what peers and joiners ask (docs/wire.md, verbs of CALL). */
import { nameTakenSentence, removedSentence } from "./admission.js";
import type { Cluster } from "./cluster.js";
import type { Identity } from "./handshake.js";
import type { Link } from "./link.js";
import type { Peer } from "./peer.js";
import { FrameType, WireError } from "./wire/frames.js";
import {
  type Body,
  decode,
  decodeCall,
  encode,
  isCallVerb,
  type Member,
  type ReplyBody,
} from "./wire/messages.js";
import type { Wire } from "./wire/wire.js";

/** @throws WireError on an unknown verb or a body of a wrong form */
export function answerCall(
  cluster: Cluster,
  peer: Peer,
  link: Link,
  { id, verb, body }: Body<"call">,
): void {
  if (!isCallVerb(verb)) throw new WireError("a call of an unknown verb");
  const { directory } = cluster;
  switch (verb) {
    case "heard":
      link.reply(id, verb, { ms: cluster.silenceMs(decodeCall(verb, body).name) });
      return;
    case "digest":
      link.reply(id, verb, cluster.table.digest());
      return;
    case "claim":
      directory.home.claim(peer.name, decodeCall(verb, body), (reply) => {
        link.reply(id, verb, reply);
      });
      return;
    case "displace": {
      const { clientId, epoch } = decodeCall(verb, body);
      directory.displace(clientId, epoch, (session) => link.reply(id, verb, { session }));
      return;
    }
    case "entry":
      link.reply(id, verb, directory.entry(decodeCall(verb, body).clientId));
      return;
    case "holds":
      directory.home.holds(peer.name, decodeCall(verb, body));
      link.reply(id, verb, {});
      return;
    case "supersede": {
      const { clientId, epoch, node } = decodeCall(verb, body);
      directory.onSuperseded(clientId, epoch, node);
      link.reply(id, verb, {});
      return;
    }
    case "announce":
      directory.home.announce(peer.name, decodeCall(verb, body));
      link.reply(id, verb, {});
      return;
    case "barrier": {
      const { node, seq } = decodeCall(verb, body);
      link.reply(id, verb, cluster.barriers.answer(peer, node, seq));
      return;
    }
    case "ask": {
      const { service, body: question } = decodeCall(verb, body);
      cluster.services.answer(peer.name, service, question, (answer) => {
        link.reply(id, verb, { body: answer });
      });
      return;
    }
    case "join":
      throw new WireError("join on a link");
    default:
      unknownVerb(verb);
  }
}

const unknownVerb = (verb: never): never => {
  throw new WireError(`verb ${String(verb)}`);
};

/** A proved node wants to join: it asks one question on this connection, and gets one answer. */
export function answerJoin(cluster: Cluster, wire: Wire, peer: Identity): void {
  const { clock, log } = cluster.context;
  const timer = clock.setTimer(joinTimeoutMs, () => wire.destroy());
  wire.onClose = () => clock.clearTimer(timer);
  wire.listen((type, bytes, start, end) => {
    if (type !== FrameType.call) throw new WireError("not a call on a join connection");
    const { id, body } = decode("call", bytes, start, end);
    const { members } = decodeCall("join", body);
    const reply = takeIn(cluster, peer, members);
    if ("refused" in reply) log.warn({ peer: peer.name }, `refused to join: ${reply.refused}`);
    const answer = (): void => {
      wire.send(encode("reply", { id, body: reply }));
      wire.close();
    };
    // The joiner may count on it only once it is on our disk.
    cluster.members.store().then(answer, () => wire.destroy());
  });
}

const joinTimeoutMs = 10_000;

function takeIn(cluster: Cluster, peer: Identity, theirs: readonly Member[]): ReplyBody<"join"> {
  const { members } = cluster;
  const joiner = theirs.find((member) => member.name === peer.name && member.id === peer.id);
  if (joiner === undefined) {
    return { refused: `${peer.name} is not in its own list of members` };
  }
  members.met(peer.name, peer.id);
  const conflict = members.conflict(theirs);
  if (conflict?.kind === "removed") return { refused: removedSentence(conflict.name) };
  if (conflict?.kind === "name-taken") return { refused: nameTakenSentence(conflict.name) };
  if (peer.name === cluster.name) return { refused: nameTakenSentence(peer.name) };
  members.merge(theirs);
  members.welcome(joiner);
  return { members: members.everything() };
}
