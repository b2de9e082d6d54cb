/** Which names and passwords are taken as they are. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { isPrepared, utf8Text } from "../../src/auth/saslprep.js";

test("text that SASLprep leaves alone is taken", () => {
  for (const text of ["user", "two words", "~!@#$%^&*()=,;", "säge", "пароль", "密碼", "😀"]) {
    assert.ok(isPrepared(text), text);
  }
});

test("text that SASLprep maps or prohibits is refused (RFC 4013 section 3)", () => {
  // soft hyphen, no-break space, ideographic space, ligature, roman number, ordinal
  for (const text of ["I\u00adX", "a\u00a0b", "\u3000", "\ufb01", "\u2168", "\u00aa"]) {
    assert.ok(!isPrepared(text), JSON.stringify(text));
  }
  // bell, delete, line end, zero width space, byte order mark, private use, replacement, variation
  for (const text of [
    "\u0007",
    "\u007f",
    "a\n",
    "\u200b",
    "\ufeffa",
    "\ue000",
    "\ufffd",
    "a\ufe0f",
  ]) {
    assert.ok(!isPrepared(text), JSON.stringify(text));
  }
  // not composed; a lone surrogate; a character that is not assigned
  for (const text of ["a\u0308", "\ud800", "\u0378"]) assert.ok(!isPrepared(text));
});

test("bytes that are no UTF-8 are no text", () => {
  assert.equal(utf8Text(Buffer.from("säge")), "säge");
  for (const bytes of [[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xe4]]) {
    assert.equal(utf8Text(Buffer.from(bytes)), null);
  }
});
