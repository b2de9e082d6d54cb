/**
 * User name and password of a CONNECT, checked against the user's SCRAM verifier. Each check costs
 * milliseconds of a worker thread, so few run at once, the others wait in order, and there is a limit
 * to how many wait. An unknown name costs the same as a known one.
 */
import { assert } from "../../lib/assert.js";
import { Ring } from "../../lib/ring.js";
import type { BasicAnswer, BasicCheck, BasicMethod } from "../basic.js";
import { isPrepared, utf8Text } from "../saslprep.js";
import type { Users } from "../users.js";
import { matches } from "../verifier.js";

export interface CheckLimits {
  readonly checks_at_once: number;
  readonly checks_waiting: number;
}

interface Waiting {
  readonly check: BasicCheck;
  readonly password: Buffer;
}

export class PasswordMethod implements BasicMethod {
  private readonly queue = new Ring<Waiting>(4);
  private running = 0;

  constructor(
    private readonly users: Users,
    private readonly limits: CheckLimits,
  ) {}

  /** Checks that wait for their turn. */
  get waiting(): number {
    return this.queue.length;
  }

  check(check: BasicCheck): void {
    const password = check.password === null ? null : comparable(check.password);
    const { checks_at_once: atOnce, checks_waiting: waitingMax } = this.limits;
    // A password that no user can have is refused as early for known names as for others.
    if (password === null) check.done("wrong");
    else if (this.running < atOnce) this.run({ check, password });
    else if (this.queue.length < waitingMax) this.queue.push({ check, password });
    else check.done("busy");
  }

  private run({ check, password }: Waiting): void {
    this.running++;
    const verifier = this.users.find(check.name);
    matches(verifier ?? this.users.standIn(check.name), password).then(
      (right) => this.finish(check, verifier === undefined ? "unknown" : right ? "right" : "wrong"),
      (error: unknown) => assert(false, `a password cannot be checked: ${String(error)}`),
    );
  }

  private finish(check: BasicCheck, answer: BasicAnswer): void {
    this.running--;
    this.next();
    check.done(answer);
  }

  private next(): void {
    for (let next = this.queue.shift(); next !== undefined; next = this.queue.shift()) {
      if (next.check.isWanted()) {
        this.run(next);
        return;
      }
      next.check.done("abandoned");
    }
  }
}

/** The password as it was when its verifier was made; null: there can be no such password. */
function comparable(password: Buffer): Buffer | null {
  const text = utf8Text(password);
  return text === null || text === "" || !isPrepared(text) ? null : password;
}
