/**
 * The first names of many sorted lists that are read in pages: how far each list was read, which ones must be read
 * further, and the merge. A name counts only when no list can still bring one that is before it.
 */

interface List {
  readonly names: Buffer[];
  /** Nothing comes after what is here. */
  whole: boolean;
}

export class NameMerge {
  /** Names to ask a list for at a time: chosen so that one page of each will nearly always do. */
  readonly pageLength: number;
  private readonly lists: readonly List[];

  /** The first `wanted` names of `count` lists over which names are spread evenly. */
  constructor(
    count: number,
    private readonly wanted: number,
  ) {
    this.pageLength = Math.min(wanted, 4 + Math.ceil((4 * wanted) / count));
    this.lists = Array.from({ length: count }, () => ({ names: [], whole: false }));
  }

  /** The lists that must be read further before the names are known; empty: none. */
  open(): number[] {
    const bound = this.bound();
    const open: number[] = [];
    for (const [index, { names, whole }] of this.lists.entries()) {
      const last = names.at(-1);
      if (whole) continue;
      if (last === undefined || bound === undefined || last.compare(bound) < 0) open.push(index);
    }
    return open;
  }

  /** The last name that came of a list. */
  lastOf(list: number): Buffer | undefined {
    return this.lists[list]?.names.at(-1);
  }

  /** The next page of a list; one that is shorter than `pageLength` is its last. */
  add(list: number, page: readonly Buffer[]): void {
    const to = this.lists[list];
    if (to === undefined) return;
    to.names.push(...page);
    to.whole = page.length < this.pageLength;
  }

  /** The names in order, when nothing is open. */
  names(): string[] {
    return this.sorted()
      .slice(0, this.wanted)
      .map((name) => name.toString("utf8"));
  }

  /** The last of the wanted names as far as they are known: nothing behind it matters. */
  private bound(): Buffer | undefined {
    return this.sorted()[this.wanted - 1];
  }

  private sorted(): Buffer[] {
    return this.lists.flatMap(({ names }) => names).sort(Buffer.compare);
  }
}
