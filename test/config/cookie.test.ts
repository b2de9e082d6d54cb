/** The cookie is made once, is readable by its owner only, and is never a weak one. */
import assert from "node:assert/strict";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { readCookie } from "../../src/config/cookie.js";
import { realRandom } from "../../src/lib/random.js";

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), "trellis-cookie-"));
  t.after(() => rmSync(path, { recursive: true }));
  return path;
}

test("a cookie that does not exist is made: 32 random bytes, mode 0600, the same ever after", (t) => {
  const file = join(folder(t), "deep", "cookie");
  const cookie = readCookie(file, undefined, realRandom);
  assert.match(cookie, /^[0-9a-f]{64}$/);
  assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.equal(readCookie(file, undefined, realRandom), cookie);
  assert.deepEqual(readdirSync(join(file, "..")), ["cookie"]);
});

test("a node that makes the cookie at the same time as another takes the other's", (t) => {
  const file = join(folder(t), "cookie");
  let first = "";
  // The other node gets in while this one draws the bytes of its own cookie.
  const slow = {
    fraction: realRandom.fraction,
    bytes(length: number) {
      if (length === 32) first = readCookie(file, undefined, realRandom);
      return realRandom.bytes(length);
    },
  };
  const second = readCookie(file, undefined, slow);
  assert.equal(second, first);
  assert.deepEqual(readdirSync(join(file, "..")), ["cookie"]);
});

test("a cookie file that others can read is refused with the command that mends it", (t) => {
  const file = join(folder(t), "cookie");
  writeFileSync(file, "c".repeat(64));
  for (const mode of [0o644, 0o640, 0o602]) {
    chmodSync(file, mode);
    const text = mode.toString(8).padStart(4, "0");
    assert.throws(() => readCookie(file, undefined, realRandom), {
      name: "Refusal",
      message: `the cookie file ${file} can be read by others (mode ${text}): run \`chmod 600 ${file}\``,
    });
  }
});

test("a cookie of fewer than 32 characters is refused, wherever it comes from", (t) => {
  const file = join(folder(t), "cookie");
  writeFileSync(file, `${"c".repeat(31)}\n`, { mode: 0o600 });
  assert.throws(() => readCookie(file, undefined, realRandom), /has 31 characters, at least 32/);
  assert.throws(() => readCookie(file, "short", realRandom), /BROKER_COOKIE has 5 characters/);
  writeFileSync(file, "", { mode: 0o600 });
  assert.throws(() => readCookie(file, undefined, realRandom), /has 0 characters/);
});

test("BROKER_COOKIE goes before the file, which is then not even made", (t) => {
  const file = join(folder(t), "cookie");
  assert.equal(readCookie(file, "x".repeat(32), realRandom), "x".repeat(32));
  assert.equal(statSync(file, { throwIfNoEntry: false }), undefined);
});

test("a path that cannot be a file is refused with a sentence", (t) => {
  const file = join(folder(t), "cookie");
  mkdirSync(file, { mode: 0o700 });
  assert.throws(() => readCookie(file, undefined, realRandom), /cannot be used: .*EISDIR/);
});
