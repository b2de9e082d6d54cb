/** Numbers as short texts, and back. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { LogIndex } from "../../src/session/journal/log-index.js";
import { pack, unpack } from "../../src/session/journal/packed.js";

test("numbers that were packed are the same afterwards", () => {
  const growth = fc.array(
    fc.tuple(fc.nat(2 ** 40), fc.nat(300), fc.integer({ min: -1, max: 2e9 })),
  );
  const property = fc.property(growth, (steps) => {
    const numbers: number[] = [];
    let [first, second] = [0, 0];
    for (const [one, two, free] of steps) {
      first += one;
      second += two;
      numbers.push(first, second, free);
    }
    assert.deepEqual(unpack(pack(numbers, 3, 2), 3, 2), numbers);
    const free = steps.map(([, , value]) => value);
    assert.deepEqual(unpack(pack(free, 1, 0), 1, 0), free);
  });
  fc.assert(property);
});

test("an index that is packed in between answers as one that is not", () => {
  const kinds = ["push", "push", "live", "release", "pack", "sweep"] as const;
  const step = fc.tuple(fc.constantFrom(...kinds), fc.nat(20));
  const property = fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
    const [plain, packed] = [new LogIndex(), new LogIndex()];
    let number = 1;
    let seq = 1;
    /** Messages that are due. */
    const due: number[] = [];
    for (const [kind, count] of steps) {
      if (kind === "pack") packed.pack();
      const [gone = 0] = kind === "release" ? due.splice(count % (due.length + 1), 1) : [];
      const said = [plain, packed].map((index) => {
        const ranges: number[][] = [];
        if (kind === "push") index.push(number, seq);
        else if (kind === "live" && index.length > 0) index.addLive(count);
        else if (gone > 0) index.release(gone);
        else if (kind === "sweep") index.sweep((from, to) => ranges.push([from, to]));
        const places = [index.indexOf(seq - count), index.numberAt(count), index.firstSeqAt(count)];
        return [ranges, index.length, index.dead, places];
      });
      assert.deepEqual(said[0], said[1]);
      if (kind === "push") number++;
      else if (kind === "live" && plain.length > 0) {
        for (let i = 0; i < count; i++) due.push(seq++);
      }
    }
  });
  fc.assert(property);
});
