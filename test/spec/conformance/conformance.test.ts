/** docs/conformance.md is what the tests are, and no clause is left unexplained. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { clauses } from "./clauses.js";
import { citations, document, documentPath, linesOf } from "./table.js";

const all = citations();

for (const edition of ["v5", "v3.1.1"] as const) {
  test(`every clause of ${edition} is tested or explained`, () => {
    const missing = linesOf(edition, all).filter((line) => line.status === "missing");
    assert.deepEqual(
      missing.map(({ id, words }) => `${id}: ${words}`),
      [],
    );
  });

  test(`no clause of ${edition} is listed twice, none that is cited is unknown`, () => {
    const ids = new Set(clauses[edition].map((clause) => clause.id));
    assert.equal(ids.size, clauses[edition].length);
    const cited = all.filter((one) => one.edition === edition && !ids.has(one.id));
    assert.deepEqual(
      cited.map(({ id, where }) => `${id} in ${where}`),
      [],
    );
  });
}

test("clauses of MQTT 3.1.1 name clauses of MQTT 5.0 that exist", () => {
  const ids = new Set(clauses.v5.map((clause) => clause.id));
  const named = clauses["v3.1.1"].flatMap((clause) => clause.same);
  assert.deepEqual(
    named.filter((id) => !ids.has(id)),
    [],
  );
});

test("docs/conformance.md is up to date: npm run conformance", () => {
  assert.equal(readFileSync(documentPath, "utf8"), document());
});
