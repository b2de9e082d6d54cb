/** Answers about the access rules: what they say to a client, and which of them. */
import type { Access } from "../../auth/acl/access.js";
import type { Acl } from "../../auth/acl/acl.js";
import type { AclAction } from "../../auth/acl/rule.js";
import { Refusal } from "../../lib/refusal.js";
import { filterFault, plainFilter } from "../../protocol/topics.js";
import type { Sessions } from "../../session/sessions.js";
import type { AclControl } from "../parts.js";

export function aclControl(acl: Acl, sessions: Sessions): AclControl {
  return {
    reload: async () => {
      await acl.reload();
      return { rules: acl.size };
    },
    check: ({ clientId, user, action, topic }) => {
      const fault = filterFault(topic);
      if (fault !== undefined) throw new Refusal(`${JSON.stringify(topic)}: ${fault}`);
      if (action === "publish" && /[+#]/.test(topic)) {
        throw new Refusal("a topic to publish to has no wildcards");
      }
      const session = clientId === undefined ? undefined : sessions.get(clientId);
      // Only a session knows the rules that its client brought itself.
      const isSame = session !== undefined && (user === undefined || user === session.user);
      const subject = { clientId: clientId ?? "", user: user ?? "", rules: null };
      const access = isSame ? session.access : acl.accessOf(subject);
      if (access === null) return { allowed: true, because: "there are no rules for it" };
      const asked = action === "subscribe" ? plainFilter(topic) : topic;
      if (action === "subscribe" && access.maySubscribe(asked)) {
        const { allowed, because } = sayRule(access, action, asked);
        if (!allowed) return { allowed: true, because: grantedAnyway };
        return { allowed, because };
      }
      return sayRule(access, action, asked);
    },
  };
}

const grantedAnyway =
  "with auth.acl_format mosquitto every SUBSCRIBE is granted, and what may not be read is not delivered";

/** What holds, and the rule that says so. */
export function sayRule(
  access: Access,
  action: AclAction,
  name: string,
): { readonly allowed: boolean; readonly because: string } {
  const { allowed, rule } = access.decide(action, name);
  const verb = allowed ? "allows" : "denies";
  if (rule === null) return { allowed, because: `no rule fits, and auth.acl_default ${verb} it` };
  const which =
    rule.line === 0 ? "a rule of the client's own" : `line ${rule.line} of the ACL file`;
  return { allowed, because: `${which} ${verb} it` };
}
