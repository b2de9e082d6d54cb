/**
 * mosquitto's acl_file, in mosquitto's order: what is denied to a user, what is allowed to it, then the same
 * of the patterns, which are for everybody. Lines before the first `user` are for anonymous clients.
 */
import { AclFileError, type AclRules } from "./acl-rules.js";
import { type AclRule, ruleFilterFault, type Who } from "./rule.js";

const actions = new Map([
  ["read", "subscribe"],
  ["write", "publish"],
  ["readwrite", "all"],
  ["deny", "all"],
] as const);

/** @throws AclFileError at the first line that mosquitto would refuse */
export function parseMosquittoAcl(lines: readonly string[]): AclRules {
  const own: AclRule[] = [];
  const patterns: AclRule[] = [];
  let who: Who = { kind: "anonymous" };
  for (const [index, text] of lines.entries()) {
    const line = index + 1;
    const trimmed = text.trim();
    if (trimmed === "" || trimmed.startsWith("#")) continue;
    const [, keyword, rest = ""] = /^(\S+)\s*(.*)$/.exec(trimmed) ?? [];
    if (keyword === "user" && rest !== "") who = { kind: "user", name: rest };
    else if (keyword === "topic") own.push(ruleOf(rest, who, line));
    else if (keyword === "pattern") patterns.push(ruleOf(rest, { kind: "all" }, line));
    else throw new AclFileError(line, "a line is user NAME, topic [ACCESS] FILTER or pattern ...");
  }
  const rules = [own, patterns].flatMap((list) => [
    ...list.filter(({ allow }) => !allow),
    ...list.filter(({ allow }) => allow),
  ]);
  return { rules, grantsFilters: true };
}

/** Without a word for the access everything is allowed. */
function ruleOf(text: string, who: Who, line: number): AclRule {
  const [, access, rest] = /^(\S+)\s+(\S.*)$/.exec(text) ?? [];
  const word = rest === undefined ? "readwrite" : access;
  const filter = rest ?? text;
  const action = [...actions].find(([name]) => name === word)?.[1];
  if (action === undefined) {
    throw new AclFileError(line, "the access is read, write, readwrite or deny");
  }
  const fault = ruleFilterFault(filter);
  if (fault !== undefined) throw new AclFileError(line, fault);
  return { allow: word !== "deny", who, action, filter, line };
}
