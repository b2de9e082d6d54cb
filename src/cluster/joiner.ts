/**
 * Changes of who belongs to the cluster, as an operator or discovery asks for them: join, leave, remove.
 * Everything that is refused is refused with a sentence that says what to do.
 */
import { Refusal } from "../lib/refusal.js";
import { nameTakenSentence, refusalSentence, removedSentence } from "./admission.js";
import type { Cluster } from "./cluster.js";
import type { FoundNode } from "./discovery/strategy.js";
import { type DialResult, type DialTarget, dialProved } from "./dial.js";
import { Purpose, RefuseCode } from "./handshake.js";
import { type JoinAnswer, requestJoin } from "./join-request.js";
import { type NodeAddress, parseNodeAddress, parseNodeName } from "./names.js";
import { type AnsweringNode, type ProbeResult, probeHost } from "./names-probe.js";
import type { Member } from "./wire/messages.js";

/** How long a joined node may take to be linked with the members that are up. */
const linkTimeoutMs = 10_000;
/** Places remembered so that discovery does not complain of each again and again. */
const refusedPlacesMax = 1_000;

export class Joiner {
  /** An operator's change is under way. */
  private busy = false;
  /** A join that discovery began, and that is under way. */
  private joiningFound: Promise<boolean> | null = null;
  /** This node left on purpose: discovery brings it back only when it is started anew. */
  private hasLeft = false;
  /** Places that discovery found and that have not had their turn. */
  private readonly queued = new Set<string>();
  private lastFound: Promise<unknown> = Promise.resolve();
  /** What was last refused at each of them. */
  private readonly refused = new Map<string, string>();

  constructor(private readonly cluster: Cluster) {}

  /**
   * Joins the cluster of the node `name@host` or `name@host:port`, and waits until the link to it is up.
   * @throws Refusal with a sentence for the operator
   */
  async join(text: string): Promise<{ member: string }> {
    const address = parseNodeAddress(text);
    const { name, members } = this.cluster;
    if (address.node === name) {
      throw new Refusal(`${name} is this very node: a node cannot join itself`);
    }
    if (members.get(address.node)?.status === "in") {
      throw new Refusal(`${name} and ${address.node} are already members of the same cluster`);
    }
    return this.alone(async () => {
      const target = await this.locate(address);
      await this.enter(target, address.node);
      this.hasLeft = false;
      return { member: address.node };
    });
  }

  /**
   * Joins a node that discovery found, if it is not a member and did not leave the cluster. Quiet where
   * nobody answers: it comes again.
   * @throws Refusal when a node answers and will not have us; the same one not twice in a row
   */
  async joinFound(found: FoundNode): Promise<boolean> {
    const place = `${found.name ?? ""} ${found.host} ${found.port ?? ""}`;
    if (this.queued.has(place)) return false;
    this.queued.add(place);
    // One after the other: one that does not answer must not keep the others from their turn.
    const turn = this.lastFound.then(() => this.tryFound(found, place));
    this.lastFound = turn.catch(() => undefined);
    return turn.finally(() => this.queued.delete(place));
  }

  private async tryFound(found: FoundNode, place: string): Promise<boolean> {
    if (this.busy || this.hasLeft) return false;
    if (found.name !== undefined && this.knows(found.name)) return false;
    try {
      this.joiningFound = this.enterFound(found);
      const joined = await this.joiningFound;
      this.refused.delete(place);
      return joined;
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      if (this.refused.get(place) === why) return false;
      if (this.refused.size >= refusedPlacesMax) this.refused.clear();
      this.refused.set(place, why);
      throw error;
    } finally {
      this.joiningFound = null;
    }
  }

  private async enterFound(found: FoundNode): Promise<boolean> {
    const candidates = await this.candidates(found);
    const stranger = candidates.find((node) => !this.knows(node.name));
    if (stranger === undefined) return false;
    await this.enter(stranger, stranger.name);
    return true;
  }

  /** Leaves the cluster: this node is a cluster of one afterwards. @throws Refusal when it is one already */
  async leave(): Promise<void> {
    const { cluster } = this;
    if (cluster.members.others().length === 0) {
      throw new Refusal(
        `${cluster.name} is in no cluster with other nodes: there is nothing to leave`,
      );
    }
    await this.alone(async () => {
      const leaving = cluster.members.ownLeaving();
      for (const peer of cluster.peers()) {
        peer.link?.send("members", { members: [leaving], stamp: leaving.stamp });
      }
      this.hasLeft = true;
      await cluster.members.reset(false);
    });
  }

  /** Makes all members forget a node, which may be dead. @throws Refusal when it is no other member */
  async remove(text: string): Promise<void> {
    const { node } = parseNodeName(text);
    const { cluster } = this;
    if (node === cluster.name) {
      throw new Refusal(`${node} is this very node: use leave_cluster to take it out`);
    }
    if (cluster.members.get(node)?.status !== "in") {
      const names = cluster.members.others().map((member) => member.name);
      const known = names.length === 0 ? "there is no other" : `the others are ${names.join(", ")}`;
      throw new Refusal(`${node} is not a member of this cluster: ${known}`);
    }
    cluster.members.mark(node, "removed");
    await cluster.members.store();
  }

  /** Starts again as a node that nobody has met, alone. */
  async discardIdentity(): Promise<void> {
    await this.cluster.members.reset(true);
  }

  /** The nodes that answer on the link ports of a host. */
  async names(host: string): Promise<readonly AnsweringNode[]> {
    return (await this.probe(host)).nodes;
  }

  /** A member, or one that was: who left or was removed comes back by its own doing alone. */
  private knows(name: string): boolean {
    return name === this.cluster.name || this.cluster.members.get(name) !== undefined;
  }

  /** One change at a time: two joins at once could each refuse what the other accepted. */
  private async alone<T>(change: () => Promise<T>): Promise<T> {
    if (this.busy) throw new Refusal("another change of members is under way: try again");
    this.busy = true;
    try {
      // Discovery begins nothing new meanwhile.
      await this.joiningFound?.catch(() => undefined);
      return await change();
    } finally {
      this.busy = false;
    }
  }

  private probe(host: string): Promise<ProbeResult> {
    return new Promise((resolve) => probeHost(this.cluster.context, host, resolve));
  }

  private async locate({ node, host, port }: NodeAddress): Promise<DialTarget> {
    if (port !== null) return { host, port };
    const { nodes, wrongCookie, otherVersions } = await this.probe(host);
    const found = nodes.find((answering) => answering.name === node);
    if (found !== undefined) return found;
    const [first, last] = this.cluster.context.settings.portRange;
    if (wrongCookie && nodes.length === 0) {
      throw new Refusal(this.sentence(RefuseCode.wrongCookie, `a node on ${host}`));
    }
    if (otherVersions[0] !== undefined && nodes.length === 0) {
      const answer = { code: RefuseCode.version, detail: otherVersions[0] };
      throw new Refusal(refusalSentence(answer, this.cluster.name, `a node on ${host}`));
    }
    const others = nodes.map((answering) => answering.name).join(", ");
    throw new Refusal(
      `there is no node ${node}: nobody of that name answers on ports ${first}-${last} of ${host}` +
        (others === "" ? "" : ` (there: ${others})`),
    );
  }

  private async candidates(found: FoundNode): Promise<AnsweringNode[]> {
    const { name, host, port } = found;
    if (name !== undefined && port !== undefined) return [{ name, host, port }];
    if (port === undefined) {
      const { nodes, wrongCookie } = await this.probe(host);
      if (wrongCookie && nodes.length === 0) {
        throw new Refusal(this.sentence(RefuseCode.wrongCookie, `a node on ${host}`));
      }
      return nodes.filter((node) => name === undefined || node.name === name);
    }
    const result = await this.dial({ host, port });
    if (result.kind !== "proved") return [];
    result.wire.destroy();
    return [{ name: result.peer.name, host, port }];
  }

  private sentence(code: typeof RefuseCode.wrongCookie, peer: string): string {
    return refusalSentence({ code, detail: "" }, this.cluster.name, peer);
  }

  private dial(target: DialTarget): Promise<DialResult> {
    const { context } = this.cluster;
    return new Promise((resolve) => dialProved(context, target, Purpose.names, resolve));
  }

  /** Is taken in by a node, and waits for the links. */
  private async enter(target: DialTarget, node: string): Promise<void> {
    const { cluster } = this;
    cluster.joining = true;
    try {
      this.adopt(await this.request(target, node));
    } finally {
      cluster.joining = false;
    }
    await cluster.members.store();
    await this.linked(node);
  }

  /** Asks a node to take us in. */
  private async request(target: DialTarget, node: string): Promise<readonly Member[]> {
    const { context, members, name } = this.cluster;
    const answer = await new Promise<JoinAnswer>((resolve) => {
      requestJoin(context, target, node, members.everything(), resolve);
    });
    const place = `${target.host} port ${target.port}`;
    switch (answer.kind) {
      case "reply":
        if ("refused" in answer.reply) throw new Refusal(answer.reply.refused);
        return answer.reply.members;
      case "answered":
        throw new Refusal(refusalSentence(answer.answer, name, node));
      case "other":
        throw new Refusal(`there is no node ${node} at ${place}: ${answer.name} answers there`);
      case "silent":
        throw new Refusal(`${node} broke off without an answer: see its log, and try again`);
      default:
        throw new Refusal(`there is no node ${node}: nobody answers at ${place}`);
    }
  }

  /** We are in: take their members. */
  private adopt(theirs: readonly Member[]): void {
    const { members } = this.cluster;
    const conflict = members.conflict(theirs);
    if (conflict?.kind === "removed") throw new Refusal(removedSentence(conflict.name));
    if (conflict?.kind === "name-taken") throw new Refusal(nameTakenSentence(conflict.name));
    members.merge(theirs);
  }

  private async linked(node: string): Promise<void> {
    const { cluster } = this;
    if (await cluster.when(() => cluster.state(node) === "up", linkTimeoutMs)) {
      await cluster.settled(linkTimeoutMs);
      return;
    }
    throw new Refusal(
      `${cluster.name} is a member now, but has no link with ${node} yet: check that each can dial the ` +
        "other's cluster.bind address and link port (cluster.advertise behind NAT); both keep trying",
    );
  }
}
