/**
 * What persistent sessions cost while nobody is there: each has one subscription and some messages of 100 bytes in its
 * queue. A node is filled over sockets, killed, and started again on what it stored; then what it has in memory is
 * printed. `npm run bench:idle-sessions -- [sessions] [messages each] [folder]`; a folder is kept and, where it
 * is full already, used again.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cpuSeconds } from "../src/cli/bench/processes.js";
import { realClock, sleep } from "../src/lib/clock.js";
import { stopAll } from "./children.js";
import { fill, makeSessions } from "./filling.js";
import { type LoneNode, startLoneNode } from "./lone-node.js";

const sessions = Number(process.argv[2] ?? 100_000);
const each = Number(process.argv[3] ?? 10);
const kept = process.argv[4];
const folder = kept ?? mkdtempSync(join(tmpdir(), "bench-"));
const windowSize = 1000;
/** A node that uses less of its core than this for so long is quiet. */
const quietShare = 0.02;
const quietMs = 5000;

async function end({ child }: LoneNode): Promise<void> {
  process.kill(child.pid, "SIGKILL");
  await child.ended;
}

/** Resolves when the node has nothing to do any more. */
async function quiet({ child }: LoneNode): Promise<void> {
  for (;;) {
    const before = cpuSeconds([child.pid]);
    await sleep(realClock, quietMs);
    const share = (cpuSeconds([child.pid]) - before) / (quietMs / 1000);
    if (share < quietShare) return;
  }
}

/** Lines of the process's status, in MB. */
function memoryOf({ child }: LoneNode): string {
  const status = readFileSync(`/proc/${child.pid}/status`, "latin1");
  return ["VmRSS", "RssAnon", "RssFile"]
    .map((name) => {
      const kibibytes = Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(status)?.[1] ?? 0);
      return `${name} ${Math.round((kibibytes * 1024) / 1e6)} MB`;
    })
    .join(", ");
}

const secondsSince = (startMs: number): string =>
  ((realClock.monotonicMs() - startMs) / 1000).toFixed(1);

try {
  if (!existsSync(join(folder, "data"))) {
    const startMs = realClock.monotonicMs();
    const first = await startLoneNode(folder);
    await makeSessions(first.port, sessions);
    await fill(first.port, { sessions, messages: sessions * each, windowSize });
    await end(first);
    console.log(
      `${sessions} sessions, ${each} messages each: filled in ${secondsSince(startMs)} s`,
    );
  }
  const startMs = realClock.monotonicMs();
  const again = await startLoneNode(folder);
  console.log(`accepts connections after ${secondsSince(startMs)} s`);
  await quiet(again);
  console.log(`idle: ${memoryOf(again)}`);
  await end(again);
} finally {
  await stopAll();
  if (kept === undefined) rmSync(folder, { recursive: true });
}
process.exit();
