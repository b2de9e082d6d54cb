/**
 * Which user names and passwords may be compared byte by byte. SASLprep (RFC 4013) maps some characters
 * to others before it compares; nothing is mapped here: text that SASLprep would change or prohibit is
 * refused, so that what is taken means the same to every client that prepares it.
 */

/** Controls, format and private characters, surrogates, unassigned ones; spaces other than U+0020. */
const prohibited = /[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/u;
/** Characters of RFC 3454 B.1 (mapped to nothing), C.6 and C.7 that the classes above leave out. */
const listed = /\u034f|\p{Variation_Selector}|[\u1806\ufffc\ufffd\u2ff0-\u2ffb]/u;

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Whether SASLprep takes `text` and leaves it as it is. */
export function isPrepared(text: string): boolean {
  return !prohibited.test(text) && !listed.test(text) && text.normalize("NFKC") === text;
}

/** The text of `bytes`; null: they are no UTF-8. */
export function utf8Text(bytes: Uint8Array): string | null {
  try {
    return utf8.decode(bytes);
  } catch {
    return null;
  }
}
