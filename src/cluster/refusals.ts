/**
 * What it means when a member will not link with this node, and what is done about it. One object a
 * member: each refusal is logged once, however often it comes.
 */
import { refusalSentence } from "./admission.js";
import type { ClusterContext } from "./context.js";
import { RefuseCode, type RefuseAnswer } from "./handshake.js";
import { requestJoin } from "./join-request.js";
import type { Membership } from "./membership.js";

export interface RefusalsHost {
  /** This node is no member any more, says one of them. */
  onRemoved(): void;
  /** May this node change who its members are, and is that one still a member? */
  isActive(): boolean;
}

/** How many refusals in a row are worth something, where the first is not. */
const patience: Readonly<Record<number, number>> = {
  // It may not have heard yet that we are a member.
  [RefuseCode.notMember]: 4,
  [RefuseCode.busy]: 10,
};

export class Refusals {
  private code = 0;
  private inARow = 0;
  private introduced = false;

  constructor(
    private readonly name: string,
    private readonly context: ClusterContext,
    private readonly members: Membership,
    private readonly host: RefusalsHost,
  ) {}

  /** A link is up: the next refusal is news. */
  clear(): void {
    this.code = 0;
    this.introduced = false;
  }

  onRefused(answer: RefuseAnswer): void {
    if (answer.code === RefuseCode.removed) {
      this.host.onRemoved();
      return;
    }
    const leftStamp = answer.code === RefuseCode.notMember ? Number(answer.detail) : 0;
    if (leftStamp > (this.members.get(this.name)?.stamp ?? 0)) {
      this.members.mark(this.name, "left", leftStamp);
      return;
    }
    this.inARow = this.code === answer.code ? this.inARow + 1 : 1;
    this.code = answer.code;
    const due = patience[answer.code] ?? 1;
    if (answer.code === RefuseCode.notMember) {
      if (this.inARow % due === 0) this.introduce();
    } else if (this.inARow === due) {
      this.complain(refusalSentence(answer, this.context.name, this.name));
    }
  }

  /**
   * A member that was away when this node came back to the cluster does not know it, and can hear of it
   * from nobody else: it is asked to take it in, as at a join.
   */
  private introduce(): void {
    const member = this.members.get(this.name);
    if (member === undefined || !this.host.isActive()) return;
    requestJoin(this.context, member, this.name, this.members.everything(), (answer) => {
      if (answer.kind !== "reply" || !this.host.isActive()) return;
      this.members.met(this.name, answer.id);
      if ("members" in answer.reply) this.members.merge(answer.reply.members);
      else if (!this.introduced) this.complain(answer.reply.refused);
      this.introduced = true;
    });
  }

  private complain(sentence: string): void {
    this.context.log.error({ peer: this.name }, sentence);
  }
}
