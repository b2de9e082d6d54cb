/** Sessions that have ended while an older one may be elsewhere: told to all while there is room, and else kept here. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { TableEntry } from "../../../src/cluster/wire/messages.js";
import { Endings, type Table } from "../../../src/session/superseded/endings.js";
import { HandClock } from "../../store/support.js";

const ofC = { key: "ended c", value: "7", endsMs: 0, stamp: 1 };

function withTable(records = 0, takes = true) {
  const set: string[] = [];
  const watching: ((entries: readonly TableEntry[]) => void)[] = [];
  const table: Table = {
    records,
    all: () => [ofC],
    get: (key) => (key === ofC.key ? ofC : undefined),
    watch: (onChanged) => void watching.push(onChanged),
    set: (key, value) => {
      if (takes) set.push(`${key} ${value}`);
      return takes;
    },
  };
  const forgotten = { count: 0 };
  const endings = new Endings(table, new HandClock(), () => void forgotten.count++);
  return { endings, set, watching, forgotten };
}

test("an end is told to all, by client id and epoch", () => {
  const { endings, set, watching } = withTable();
  endings.tell("c", 5, false);
  assert.deepEqual([set, [...endings.all()]], [["ended c 5"], []]);
  assert.deepEqual([...endings.inTable()], [["c", 7]]);
  const heard: unknown[] = [];
  endings.watch((...ended) => void heard.push(ended));
  const entry = { endsMs: 0, stamp: 1 };
  watching[0]?.([
    { ...entry, key: "ended d", value: "9" },
    { ...entry, key: "ended e", value: null },
    { ...entry, key: "ban x", value: "1" },
  ]);
  assert.deepEqual(heard, [["d", 9]]);
});

test("the second half of the table is for those that are sure to be of use; others are kept here", () => {
  const { endings, set } = withTable(5_000);
  endings.tell("unsure", 5, false);
  endings.tell("sure", 6, true);
  assert.deepEqual([set, [...endings.all()]], [["ended sure 6"], [["unsure", 5]]]);
  assert.deepEqual([endings.keptOf("unsure"), endings.keptOf("sure")], [5, -1]);
  assert.deepEqual(
    ["unsure", "c", "nobody"].map((id) => endings.upTo(id)),
    [5, 7, -1],
  );
});

test("what a full table refuses is kept here, the newest 100,000", () => {
  const { endings, forgotten } = withTable(10_000, false);
  endings.tell("first", 1, true);
  for (let i = 0; i < 99_999; i++) endings.keep(`c${i}`, 2);
  endings.tell("first", 3, true);
  assert.equal(forgotten.count, 0);
  endings.keep("last", 4);
  assert.deepEqual([endings.keptOf("c0"), endings.keptOf("first")], [-1, 3]);
  assert.equal(forgotten.count, 1);
});
