/**
 * The users file: names and SCRAM verifiers, one user a line, no password in any form. It may be edited by
 * hand and copied between nodes: what it holds is looked at again whenever the file has changed. A file
 * that cannot be read, or has vanished, never opens the node: users stay as they were last known, and a
 * missing file stands for no users.
 */
import { type FileHandle, open, stat } from "node:fs/promises";
import { z } from "zod";
import type { Clock, Timer } from "../lib/clock.js";
import type { Log } from "../lib/log.js";
import type { Random } from "../lib/random.js";
import { Refusal } from "../lib/refusal.js";
import { replaceFile } from "../store/replace-file.js";
import { isPrepared } from "./saslprep.js";
import { standInVerifier, type Users } from "./users.js";
import { deriveVerifier, keyBytes, saltBytes, type Verifier } from "./verifier.js";

export const iterationsMin = 4096;
export const iterationsMax = 10_000_000;
const nameBytesMax = 256;
const passwordBytesMax = 1024;
const usersMax = 100_000;
const fileBytesMax = 64 * 1024 * 1024;
/** A change of the file is noticed within this time. */
const lookEveryMs = 1000;

const base64 = (bytes: { readonly min: number; readonly max: number }) =>
  z.base64().transform((text, context): Buffer => {
    const decoded = Buffer.from(text, "base64");
    if (decoded.length < bytes.min || decoded.length > bytes.max) context.addIssue("wrong length");
    return decoded;
  });
const key = base64({ min: keyBytes, max: keyBytes });
const fileSchema = z.strictObject({
  format: z.literal(1),
  /** Makes the answers for names that do not exist; the same on all nodes that share the users. */
  stand_in_key: key,
  users: z
    .array(
      z.strictObject({
        name: z.string().refine((name) => nameProblem(name) === null, "no user name"),
        iterations: z.int().min(iterationsMin).max(iterationsMax),
        salt: base64({ min: 1, max: 1024 }),
        stored_key: key,
        server_key: key,
      }),
    )
    .max(usersMax),
});

export interface UsersFileParts {
  readonly path: string;
  /** For new passwords. */
  readonly iterations: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly lookMs?: number;
}

/** What the file held when it was read. */
interface Content {
  readonly users: ReadonlyMap<string, Verifier>;
  readonly standInKey: Buffer;
  /** Most iterations of any user. */
  readonly iterations: number;
}

/** A user as `broker ctl users list` shows it. */
export interface UserInfo {
  readonly name: string;
  readonly iterations: number;
}

export class UsersFile implements Users {
  readonly counters = { loaded: 0, loadFailures: 0, written: 0 };
  private content: Content;
  private isKept = false;
  /** Which file was read last, or could not be; empty: none. */
  private seen = "";
  /** Reads and changes, one after the other. */
  private working: Promise<void> = Promise.resolve();
  private timer: Timer | undefined;
  private closed = false;

  constructor(private readonly parts: UsersFileParts) {
    const standInKey = parts.random.bytes(keyBytes);
    this.content = { users: new Map(), standInKey, iterations: parts.iterations };
  }

  get kept(): boolean {
    return this.isKept;
  }

  get size(): number {
    return this.content.users.size;
  }

  find(name: string): Verifier | undefined {
    return this.content.users.get(name);
  }

  standIn(name: string): Verifier {
    const { standInKey, iterations } = this.content;
    return standInVerifier(standInKey, name, iterations);
  }

  list(): UserInfo[] {
    const names = [...this.content.users].map(([name, { iterations }]) => ({ name, iterations }));
    return names.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Reads the file and goes on to look after it. @throws Refusal when it is there and not usable */
  async open(): Promise<void> {
    await this.load();
    this.lookLater();
  }

  close(): void {
    this.closed = true;
    this.parts.clock.clearTimer(this.timer);
  }

  /** Looks whether the file has changed, and takes its new content. Never rejects. */
  look(): Promise<void> {
    return this.inTurn(async () => {
      try {
        await this.load();
      } catch (error) {
        this.counters.loadFailures++;
        const why = error instanceof Error ? error.message : String(error);
        this.parts.log.error({ why }, "the users file is not taken; users stay as they were");
      }
    });
  }

  /** Adds a user. @throws Refusal when there is one of this name, or name or password cannot be */
  async add(name: string, password: string): Promise<void> {
    const problem = nameProblem(name);
    if (problem !== null) throw new Refusal(problem);
    const verifier = await this.verifierOf(password);
    await this.change((users) => {
      if (users.has(name)) throw new Refusal("there is a user of this name already");
      if (users.size >= usersMax)
        throw new Refusal(`there are ${usersMax} users, the most there can be`);
      users.set(name, verifier);
    });
  }

  /** Gives a user another password. @throws Refusal when there is no such user */
  async setPassword(name: string, password: string): Promise<void> {
    const verifier = await this.verifierOf(password);
    await this.change((users) => {
      if (!users.has(name)) throw new Refusal("there is no user of this name");
      users.set(name, verifier);
    });
  }

  /** @throws Refusal when there is no such user */
  async delete(name: string): Promise<void> {
    await this.change((users) => {
      if (!users.delete(name)) throw new Refusal("there is no user of this name");
    });
  }

  private verifierOf(password: string): Promise<Verifier> {
    const bytes = Buffer.from(password);
    if (bytes.length === 0) throw new Refusal("the password is empty");
    if (bytes.length > passwordBytesMax) {
      throw new Refusal(`the password is longer than ${passwordBytesMax} bytes`);
    }
    if (!isPrepared(password)) throw new Refusal(`the password ${unpreparedText}`);
    const { random, iterations } = this.parts;
    return deriveVerifier(bytes, random.bytes(saltBytes), iterations);
  }

  /** Changes what the file holds now, whoever wrote it. */
  private change(how: (users: Map<string, Verifier>) => void): Promise<void> {
    return this.inTurn(async () => {
      this.seen = "";
      await this.load();
      const users = new Map(this.content.users);
      how(users);
      const { path } = this.parts;
      const text = encode(users, this.content.standInKey);
      try {
        await replaceFile(path, text);
      } catch (error) {
        throw new Refusal(`the users file ${path} cannot be written: ${messageOf(error)}`);
      }
      this.counters.written++;
      await this.load();
    });
  }

  private inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.working.then(work);
    this.working = done.catch(() => undefined);
    return done;
  }

  private lookLater(): void {
    if (this.closed) return;
    const { clock, lookMs = lookEveryMs } = this.parts;
    this.timer = clock.setTimer(lookMs, () => {
      void this.look().then(() => this.lookLater());
    });
  }

  /** Reads the file if it is another one than last time. @throws Refusal when it is not usable */
  private async load(): Promise<void> {
    const { path, log } = this.parts;
    try {
      const now = await signature(path);
      if (now === this.seen) return;
      // Noted before it is read: one that is not usable is complained about once.
      this.seen = now;
      if (now === missing) {
        if (this.isKept) log.warn({ path }, "the users file is gone: there are no users now");
        this.content = { ...this.content, users: new Map() };
        return;
      }
      const { text, mode, signature: read } = await readWhole(path);
      this.seen = read;
      this.content = decode(text);
      this.isKept = true;
      this.counters.loaded++;
      if ((mode & 0o077) !== 0) {
        log.warn({ path, mode: mode.toString(8) }, "others can read the users file: chmod 600 it");
      }
    } catch (error) {
      throw new Refusal(`the users file ${path} cannot be used: ${messageOf(error)}`);
    }
  }
}

const missing = "missing";

async function signature(path: string): Promise<string> {
  try {
    return signatureOf(await stat(path));
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return missing;
    throw error;
  }
}

function signatureOf(status: { ino: number; mtimeMs: number; size: number }): string {
  return `${status.ino} ${status.mtimeMs} ${status.size}`;
}

async function readWhole(path: string): Promise<{ text: string; mode: number; signature: string }> {
  const file: FileHandle = await open(path, "r");
  try {
    // What is read is not older than this, so that a change while it is read is seen the next time.
    const status = await file.stat();
    if (!status.isFile()) throw new Error("it is no file");
    if (status.size > fileBytesMax) throw new Error(`it is larger than ${fileBytesMax} bytes`);
    const text = await file.readFile("utf8");
    return { text, mode: status.mode & 0o777, signature: signatureOf(status) };
  } finally {
    await file.close();
  }
}

/** @throws Error with what is wrong */
function decode(text: string): Content {
  const parsed = fileSchema.safeParse(parseJson(text));
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new Error(`${issue?.path.join(".")}: ${issue?.message}`);
  }
  const users = new Map<string, Verifier>();
  let most = iterationsMin;
  for (const { name, iterations, salt, stored_key, server_key } of parsed.data.users) {
    if (users.has(name)) throw new Error(`the user ${JSON.stringify(name)} is there twice`);
    users.set(name, { iterations, salt, storedKey: stored_key, serverKey: server_key });
    most = Math.max(most, iterations);
  }
  return { users, standInKey: parsed.data.stand_in_key, iterations: most };
}

/** The parser's own message would quote the file. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error("it is no JSON");
  }
}

function encode(users: ReadonlyMap<string, Verifier>, standInKey: Buffer): string {
  const lines = [...users].map(([name, { iterations, salt, storedKey, serverKey }]) => {
    const keys = {
      stored_key: storedKey.toString("base64"),
      server_key: serverKey.toString("base64"),
    };
    return JSON.stringify({ name, iterations, salt: salt.toString("base64"), ...keys });
  });
  const list = lines.length === 0 ? "[]" : `[\n  ${lines.join(",\n  ")}\n]`;
  const head = `"format": 1,\n"stand_in_key": "${standInKey.toString("base64")}"`;
  return `{\n${head},\n"users": ${list}\n}\n`;
}

const unpreparedText =
  "has characters that clients could send in another form: use letters, digits, punctuation and plain spaces";

/** A sentence about a name that no user can have; null: it is fine. */
function nameProblem(name: string): string | null {
  if (name === "") return "the user name is empty";
  if (Buffer.byteLength(name) > nameBytesMax) {
    return `the user name is longer than ${nameBytesMax} bytes`;
  }
  return isPrepared(name) ? null : `the user name ${unpreparedText}`;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
