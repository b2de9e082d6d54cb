/**
 * A call of a script as the bytes that Redis reads, written in one go: ioredis itself makes a string and a buffer of each of
 * the hundreds of arguments that a call has here, which was most of what a commit cost.
 */
import { Command } from "ioredis";
import type { Argument } from "./client.js";

const firstBytes = 64 * 1024;
/** A buffer that one large value made long is not kept. */
const keptBytes = 1024 * 1024;
/** Digits of a length, and the ends of two lines. */
const frameBytes = 16;

let scratch = Buffer.allocUnsafe(firstBytes);
let at = 0;

/** EVALSHA; replies come as buffers. */
export class ScriptCall extends Command {
  private readonly bytes: Buffer;

  constructor(sha: string, keys: readonly string[], args: readonly Argument[]) {
    super("evalsha", [], { replyEncoding: null });
    this.bytes = encode(sha, keys, args);
  }

  override toWritable(): Buffer {
    return this.bytes;
  }
}

function encode(sha: string, keys: readonly string[], args: readonly Argument[]): Buffer {
  at = 0;
  head(0x2a, 3 + keys.length + args.length);
  text("EVALSHA");
  text(sha);
  text(String(keys.length));
  for (let i = 0; i < keys.length; i++) text(keys[i] as string); // below length, as below
  for (let i = 0; i < args.length; i++) {
    const argument = args[i] as Argument;
    if (typeof argument === "string") text(argument);
    else data(argument);
  }
  const bytes = Buffer.allocUnsafe(at);
  scratch.copy(bytes, 0, 0, at);
  if (scratch.length > keptBytes) scratch = Buffer.allocUnsafe(firstBytes);
  return bytes;
}

function text(value: string): void {
  // A UTF-16 unit takes three bytes at most.
  makeRoom(value.length * 3);
  const isLong = value.length > 128;
  const length = isLong || !isAscii(value) ? Buffer.byteLength(value) : value.length;
  head(0x24, length);
  if (length !== value.length || isLong) at += scratch.write(value, at);
  else for (let i = 0; i < length; i++) scratch[at++] = value.charCodeAt(i);
  endLine();
}

function data(value: Buffer): void {
  makeRoom(value.length);
  head(0x24, value.length);
  value.copy(scratch, at);
  at += value.length;
  endLine();
}

/** `*` or `$`, a number, the end of the line. */
function head(kind: number, value: number): void {
  makeRoom(0);
  scratch[at++] = kind;
  let digits = 1;
  for (let rest = value; rest >= 10; rest = (rest - (rest % 10)) / 10) digits++;
  let rest = value;
  for (let place = at + digits - 1; place >= at; place--) {
    scratch[place] = 0x30 + (rest % 10);
    rest = (rest - (rest % 10)) / 10;
  }
  at += digits;
  endLine();
}

function endLine(): void {
  scratch[at++] = 0x0d;
  scratch[at++] = 0x0a;
}

function isAscii(value: string): boolean {
  for (let i = 0; i < value.length; i++) if (value.charCodeAt(i) > 0x7f) return false;
  return true;
}

function makeRoom(bytes: number): void {
  const needed = at + bytes + frameBytes;
  if (needed <= scratch.length) return;
  const grown = Buffer.allocUnsafe(Math.max(needed, scratch.length * 2));
  scratch.copy(grown, 0, 0, at);
  scratch = grown;
}
