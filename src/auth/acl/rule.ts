/**
 * One rule about topics, and what its filter covers. Placeholders are replaced literally: a client id or user
 * name that could mean more than itself never widens what is allowed.
 */
import { filterFault, isShared } from "../../protocol/topics.js";

export type AclAction = "publish" | "subscribe";

/** Whom topics are checked for. */
export interface AclSubject {
  readonly clientId: string;
  /** Empty: anonymous. */
  readonly user: string;
}

/** Whom a rule is about. */
export type Who =
  | { readonly kind: "all" }
  | { readonly kind: "anonymous" }
  | { readonly kind: "user" | "client"; readonly name: string };

export interface AclRule {
  readonly allow: boolean;
  readonly who: Who;
  readonly action: AclAction | "all";
  /** With `%c` for the client id and `%u` for the user name. */
  readonly filter: string;
  /** Its line in the file; 0: it is one of the client's own. */
  readonly line: number;
}

/** A rule as it is for one subject: its filter by levels. */
export interface ResolvedRule {
  readonly allow: boolean;
  readonly action: AclAction | "all";
  readonly levels: readonly string[];
  readonly line: number;
}

const placeholder = /%[cu]/g;

/** What is wrong with the filter of a rule, in a few words; undefined: nothing. */
export function ruleFilterFault(filter: string): string | undefined {
  if (isShared(filter)) return "a rule names the filter inside of $share/name/filter";
  return filterFault(filter);
}

/** Does the rule's filter stand for the same topics for everybody? */
export function isFixed(rule: Pick<AclRule, "filter">): boolean {
  return !/%[cu]/.test(rule.filter);
}

/** The rule as it is for this subject; null: it says nothing about it. */
export function resolveRule(
  { allow, action, filter, line }: AclRule,
  { clientId, user }: AclSubject,
): ResolvedRule | null {
  let fits = true;
  const text = filter.replace(placeholder, (name, at: number) => {
    const value = name === "%c" ? clientId : user;
    // No topic has a wildcard in it. A slash, or a dollar sign at the begin, would make an allowing rule
    // reach topics that its author did not think of; a denying one may deny them all the same.
    const widens = value.includes("/") || (at === 0 && value.startsWith("$"));
    if (value === "" || /[+#]/.test(value) || (allow && widens)) fits = false;
    return value;
  });
  return fits ? { allow, action, levels: text.split("/"), line } : null;
}

/**
 * Does the filter of a rule cover a topic name, or everything that another filter can match? A leading wildcard
 * does not cover what begins with a dollar sign [MQTT-4.7.2-1].
 */
export function covers(rule: readonly string[], asked: readonly string[]): boolean {
  const first = rule[0];
  if ((first === "#" || first === "+") && asked[0]?.startsWith("$")) return false;
  for (let i = 0; i < rule.length; i++) {
    const level = rule[i];
    if (level === "#") return true; // its parent level too
    const other = asked[i];
    if (other === undefined || other === "#") return false;
    if (level !== "+" && level !== other) return false;
  }
  return rule.length === asked.length;
}
