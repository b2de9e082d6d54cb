/**
 * The rules of the file, found by whom they are about: what a client costs does not depend on how many rules
 * there are for others. Clients for whom the same rules hold share one set.
 */
import type { ClientRule } from "../rules.js";
import type { AclRules } from "./acl-rules.js";
import {
  type AclRule,
  type AclSubject,
  isFixed,
  resolveRule,
  type ResolvedRule,
  ruleFilterFault,
} from "./rule.js";
import { RuleSet } from "./rule-set.js";

/** Most rules that a client may bring of its own. */
const ownRulesMax = 1000;
/** Most sets that are shared; beyond it each client gets its own. */
const sharedMax = 1000;
/** Verdicts that a set remembers, nine bytes each. */
const sharedPlacesMax = 16_384;
const ownPlacesMax = 4096;

export interface FullSubject extends AclSubject {
  /** Rules that came with who the client is, asked before all others; null: none. */
  readonly rules: readonly ClientRule[] | null;
}

/** A rule by its place in the order, and resolved once where it is the same for everybody. */
interface Placed {
  readonly place: number;
  readonly rule: AclRule;
  readonly fixed: ResolvedRule | null;
}

export class AclTable {
  private readonly all: Placed[] = [];
  private readonly anonymous: Placed[] = [];
  private readonly byUser = new Map<string, Placed[]>();
  private readonly byClient = new Map<string, Placed[]>();
  private readonly shared = new Map<string, RuleSet>();

  constructor(
    private readonly file: AclRules,
    private readonly allowsRest: boolean,
  ) {
    for (const [place, rule] of file.rules.entries()) {
      const fixed = isFixed(rule)
        ? {
            allow: rule.allow,
            action: rule.action,
            levels: rule.filter.split("/"),
            line: rule.line,
          }
        : null;
      this.listFor(rule).push({ place, rule, fixed });
    }
  }

  get size(): number {
    return this.file.rules.length;
  }

  /** What holds for this subject. */
  setFor(subject: FullSubject): RuleSet {
    const placed = this.placedFor(subject);
    if (subject.rules !== null || placed.some(({ fixed }) => fixed === null)) {
      const own = subject.rules === null ? [] : ownRules(subject, subject.rules);
      if (own === null) return new RuleSet([], false, false, ownPlacesMax);
      return this.make(own, placed, subject, ownPlacesMax);
    }
    const key = placed.map(({ place }) => place).join(" ");
    let set = this.shared.get(key);
    if (set === undefined) {
      const mayShare = this.shared.size < sharedMax;
      set = this.make([], placed, subject, mayShare ? sharedPlacesMax : ownPlacesMax);
      if (mayShare) this.shared.set(key, set);
    }
    return set;
  }

  private make(
    own: readonly ResolvedRule[],
    placed: readonly Placed[],
    subject: AclSubject,
    placesMax: number,
  ): RuleSet {
    const rules = [...own];
    for (const { rule, fixed } of placed) {
      const resolved = fixed ?? resolveRule(rule, subject);
      if (resolved !== null) rules.push(resolved);
    }
    return new RuleSet(rules, this.allowsRest, this.file.grantsFilters, placesMax);
  }

  private placedFor({ clientId, user }: AclSubject): Placed[] {
    const named = user === "" ? this.anonymous : (this.byUser.get(user) ?? []);
    const placed = [...this.all, ...named, ...(this.byClient.get(clientId) ?? [])];
    return placed.sort((one, other) => one.place - other.place);
  }

  private listFor({ who }: AclRule): Placed[] {
    if (who.kind === "all") return this.all;
    if (who.kind === "anonymous") return this.anonymous;
    const map = who.kind === "user" ? this.byUser : this.byClient;
    let list = map.get(who.name);
    if (list === undefined) {
      list = [];
      map.set(who.name, list);
    }
    return list;
  }
}

/** The client's own rules; null: there are too many, or one cannot be, so nothing is allowed. */
function ownRules(subject: AclSubject, rules: readonly ClientRule[]): ResolvedRule[] | null {
  if (rules.length > ownRulesMax) return null;
  const resolved: ResolvedRule[] = [];
  for (const { allow, action, filter } of rules) {
    if (ruleFilterFault(filter) !== undefined) return null;
    const rule = resolveRule({ allow, who: { kind: "all" }, action, filter, line: 0 }, subject);
    if (rule !== null) resolved.push(rule);
  }
  return resolved;
}
