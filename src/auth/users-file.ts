/**
 * The users file: names, hashes and SCRAM verifiers, one user a line, no password in any form. It may be edited by
 * hand and copied between nodes: what it holds is looked at again whenever the file has changed. A file
 * that cannot be read, or has vanished, never opens the node: users stay as they were last known, and a
 * missing file stands for no users.
 */
import type { Clock, Timer } from "../lib/clock.js";
import type { Log } from "../lib/log.js";
import type { Random } from "../lib/random.js";
import { Refusal } from "../lib/refusal.js";
import { replaceFile } from "../store/replace-file.js";
import { missing, readWhole, signature } from "./file-signature.js";
import { passwordBytesMax } from "./methods/password.js";
import { parseMosquittoPasswd } from "./mosquitto-passwd.js";
import { hashPassword, hashSaltBytes, type ScryptCost, workOf } from "./password-hash.js";
import { isPrepared, utf8Text } from "./saslprep.js";
import { type CheckWork, standInVerifier, type UserSecrets, type Users } from "./users.js";
import {
  type Content,
  contentOf,
  decodeUsers,
  encodeUsers,
  nameProblem,
  unpreparedText,
  usersMax,
} from "./users-content.js";
import { deriveVerifier, keyBytes, saltBytes, type Verifier } from "./verifier.js";

const fileBytesMax = 64 * 1024 * 1024;
/** A change of the file is noticed, and renewed passwords are written, within this time. */
const lookEveryMs = 1000;

export interface UsersFileParts {
  readonly path: string;
  /** For the verifiers of new passwords. */
  readonly iterations: number;
  /** For the hashes of new passwords. */
  readonly scrypt: ScryptCost;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly lookMs?: number;
}

/** A user as `broker ctl users list` shows it. */
export interface UserInfo {
  readonly name: string;
  /** Work of its SCRAM verifier; 0: there is none until the user's first right password. */
  readonly iterations: number;
  /** How its password is checked. */
  readonly hash: "scrypt" | "scram" | "mosquitto-sha512" | "mosquitto-pbkdf2";
}

/** A password in the form of a new one, to be written unless somebody changes the user before that. */
interface Renewal {
  readonly before: UserSecrets;
  /** Null: still at work. */
  after: UserSecrets | null;
}

export class UsersFile implements Users {
  readonly counters = {
    loaded: 0,
    loadFailures: 0,
    written: 0,
    imported: 0,
    /** Passwords that were right and are now kept in the present form. */
    renewed: 0,
    renewalFailures: 0,
    /** Renewals that came too late: somebody had changed the user. */
    renewalsOutdated: 0,
  };
  private content: Content;
  private isKept = false;
  private readonly renewals = new Map<string, Renewal>();
  /** Which file was read last, or could not be; empty: none. */
  private seen = "";
  /** Reads and changes, one after the other. */
  private working: Promise<void> = Promise.resolve();
  private timer: Timer | undefined;
  private closed = false;

  constructor(private readonly parts: UsersFileParts) {
    const standInKey = parts.random.bytes(keyBytes);
    this.content = contentOf(new Map(), standInKey, parts.iterations);
  }

  get kept(): boolean {
    return this.isKept;
  }

  get size(): number {
    return this.content.users.size;
  }

  find(name: string): UserSecrets | undefined {
    return this.content.users.get(name);
  }

  get work(): CheckWork {
    return this.content.work;
  }

  standIn(name: string): Verifier {
    const { standInKey, iterations } = this.content;
    return standInVerifier(standInKey, name, iterations);
  }

  list(): UserInfo[] {
    const names = [...this.content.users].map(([name, { verifier, hash }]) => {
      return {
        name,
        iterations: verifier?.iterations ?? 0,
        hash: hash?.kind ?? ("scram" as const),
      };
    });
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
    const secrets = await this.secretsOf(password);
    await this.change((users) => {
      if (users.has(name)) throw new Refusal("there is a user of this name already");
      if (users.size >= usersMax)
        throw new Refusal(`there are ${usersMax} users, the most there can be`);
      users.set(name, secrets);
    });
  }

  /** Gives a user another password. @throws Refusal when there is no such user */
  async setPassword(name: string, password: string): Promise<void> {
    const secrets = await this.secretsOf(password);
    await this.change((users) => {
      if (!users.has(name)) throw new Refusal("there is no user of this name");
      users.set(name, secrets);
    });
  }

  /** @throws Refusal when there is no such user */
  async delete(name: string): Promise<void> {
    await this.change((users) => {
      if (!users.delete(name)) throw new Refusal("there is no user of this name");
    });
  }

  /**
   * Adds the users of a file of mosquitto_passwd; those that exist already stay as they are.
   * @throws Refusal when it is no such file, or too many would be there
   */
  async importMosquitto(text: string): Promise<{ imported: number; existing: number }> {
    const found = parseMosquittoPasswd(text);
    let imported = 0;
    await this.change((users) => {
      for (const [name, hash] of found) {
        if (users.has(name)) continue;
        users.set(name, { verifier: null, hash });
        imported++;
      }
      if (users.size > usersMax) {
        throw new Refusal(`there would be ${users.size} users, there can be ${usersMax}`);
      }
    });
    this.counters.imported += imported;
    return { imported, existing: found.size - imported };
  }

  isOutdated({ hash }: UserSecrets): boolean {
    return hash?.kind !== "scrypt" || workOf(hash.cost) < workOf(this.parts.scrypt);
  }

  /** All that are renewed within the time of a look are written together. */
  async renew(name: string, before: UserSecrets, password: Buffer): Promise<void> {
    if (this.renewals.get(name)?.before === before) return;
    const renewal: Renewal = { before, after: null };
    this.renewals.set(name, renewal);
    // A password that came from elsewhere may have characters that SCRAM cannot be sure of.
    const text = utf8Text(password);
    const forScram = text !== null && isPrepared(text);
    renewal.after = await this.derive(password, forScram);
  }

  private secretsOf(password: string): Promise<UserSecrets> {
    const bytes = Buffer.from(password);
    if (bytes.length === 0) throw new Refusal("the password is empty");
    if (bytes.length > passwordBytesMax) {
      throw new Refusal(`the password is longer than ${passwordBytesMax} bytes`);
    }
    if (!isPrepared(password)) throw new Refusal(`the password ${unpreparedText}`);
    return this.derive(bytes, true);
  }

  private async derive(password: Buffer, forScram: boolean): Promise<UserSecrets> {
    const { random, iterations, scrypt } = this.parts;
    const hash = await hashPassword(password, random.bytes(hashSaltBytes), scrypt);
    let verifier: Verifier | null = null;
    if (forScram) verifier = await deriveVerifier(password, random.bytes(saltBytes), iterations);
    return { verifier, hash };
  }

  /** Writes what was renewed. Never rejects: what is not written is renewed another time. */
  private async writeRenewals(): Promise<void> {
    const done = [...this.renewals].filter(([, { after }]) => after !== null);
    if (done.length === 0) return;
    for (const [name] of done) this.renewals.delete(name);
    let renewed = 0;
    try {
      await this.change((users) => {
        for (const [name, { before, after }] of done) {
          const now = users.get(name);
          if (after === null || now === undefined || !isSame(now, before)) continue;
          users.set(name, after);
          renewed++;
        }
      });
      this.counters.renewed += renewed;
      this.counters.renewalsOutdated += done.length - renewed;
    } catch (error) {
      this.counters.renewalFailures += done.length;
      this.parts.log.error({ why: messageOf(error) }, "renewed passwords cannot be kept");
    }
  }

  /** Changes what the file holds now, whoever wrote it. */
  private change(how: (users: Map<string, UserSecrets>) => void): Promise<void> {
    return this.inTurn(async () => {
      this.seen = "";
      await this.load();
      const users = new Map(this.content.users);
      how(users);
      const { path } = this.parts;
      const text = encodeUsers(users, this.content.standInKey);
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
      void this.look()
        .then(() => this.writeRenewals())
        .then(() => this.lookLater());
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
        const { standInKey, iterations } = this.content;
        this.content = contentOf(new Map(), standInKey, iterations);
        return;
      }
      const { text, mode, signature: read } = await readWhole(path, fileBytesMax);
      this.seen = read;
      this.content = decodeUsers(text);
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

/** The same secrets, though the file was read again in between. */
function isSame(a: UserSecrets, b: UserSecrets): boolean {
  const keyOf = ({ verifier, hash }: UserSecrets): string =>
    `${hash?.key.toString("hex")} ${verifier?.storedKey.toString("hex")}`;
  return keyOf(a) === keyOf(b);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
