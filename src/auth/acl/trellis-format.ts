/**
 * The node's own format of an ACL file, one rule a line:
 *
 *     allow|deny  user NAME|client ID|anonymous|all  publish|subscribe|all  FILTER
 *
 * Lines that begin with # are comments. What has spaces may stand in double quotes, as in JSON.
 */
import { AclFileError, type AclRules } from "./acl-rules.js";
import { type AclRule, ruleFilterFault, type Who } from "./rule.js";

const word = String.raw`"(?:[^"\\]|\\.)*"|\S+`;
const rulePattern = new RegExp(
  String.raw`^(allow|deny)\s+(?:(all|anonymous)|(user|client)\s+(${word}))\s+(publish|subscribe|all)\s+(\S.*)$`,
);
const shape =
  "allow|deny, then user NAME, client ID, anonymous or all, then publish, subscribe or all, then a filter";

/** @throws AclFileError at the first line that is no rule */
export function parseTrellisAcl(lines: readonly string[]): AclRules {
  const rules: AclRule[] = [];
  for (const [index, text] of lines.entries()) {
    const trimmed = text.trim();
    if (trimmed === "" || trimmed.startsWith("#")) continue;
    rules.push(ruleOf(trimmed, index + 1));
  }
  return { rules, grantsFilters: false };
}

function ruleOf(text: string, line: number): AclRule {
  const match = rulePattern.exec(text);
  if (match === null) throw new AclFileError(line, `a rule is ${shape}`);
  const [, verb, everybody, kind, name = "", action, rest = ""] = match;
  const filter = plain(rest, line);
  const fault = ruleFilterFault(filter);
  if (fault !== undefined) throw new AclFileError(line, fault);
  return {
    allow: verb === "allow",
    who: whoOf(everybody, kind, plain(name, line)),
    action: action === "publish" || action === "subscribe" ? action : "all",
    filter,
    line,
  };
}

function whoOf(everybody: string | undefined, kind: string | undefined, name: string): Who {
  if (everybody !== undefined) return { kind: everybody === "all" ? "all" : "anonymous" };
  return { kind: kind === "user" ? "user" : "client", name };
}

/** Takes double quotes off. */
function plain(text: string, line: number): string {
  if (!text.startsWith('"')) return text;
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed === "string") return parsed;
  } catch {
    // Said below.
  }
  throw new AclFileError(line, "what stands in double quotes is written as in JSON");
}
