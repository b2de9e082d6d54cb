/** Nodes whose disk is full or fails. */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { TestNode } from "../support/nodes.js";

const cookie = "k".repeat(32);
const name = "n1@127.0.0.1";

function folderFor(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "trellis-faults-"));
  t.after(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }));
  return folder;
}

/** A node whose data directory is a file system of its own, of `bytes`, in memory. */
export class SmallDiskNode extends TestNode {
  constructor(t: TestContext, bytes: number, settings: readonly string[]) {
    super(t, name, folderFor(t), settings, cookie);
    const data = this.dataDirectory;
    mkdirSync(data, { recursive: true });
    // Only this process and its children see the mount, which goes with them.
    const script = `mount -t tmpfs -o size=${bytes} tmpfs "$0" && exec "$@"`;
    this.launcher = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, data];
  }

  /** Fills the disk but for `leaveBytes`. */
  fill(leaveBytes: number): void {
    const free = Number(
      execFileSync("stat", ["-f", "-c", "%a", this.inside("")], { encoding: "utf8" }),
    );
    const bytes = Math.max(0, free * 4096 - leaveBytes);
    writeFileSync(this.inside("filler"), Buffer.alloc(bytes, 1));
  }

  free(): void {
    rmSync(this.inside("filler"));
  }

  /** A path in the data directory, as seen from outside. */
  private inside(path: string): string {
    return join(`/proc/${this.pid}/root`, this.dataDirectory, path);
  }
}

/** A node whose store meets I/O errors while it is told so. */
export class FailingDiskNode extends TestNode {
  private readonly control: string;

  constructor(t: TestContext, settings: readonly string[]) {
    const folder = folderFor(t);
    super(t, name, folder, settings, cookie);
    this.control = join(folder, "fault");
    const library = join(folder, "disk-faults.so");
    const source = fileURLToPath(new URL("disk-faults.c", import.meta.url));
    execFileSync("cc", ["-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"]);
    this.environment = { LD_PRELOAD: library, DISK_FAULT: this.control };
  }

  /** From now on writing the store's file, or syncing it, fails, or syncing it does not come back. */
  fail(what: "write" | "sync" | "hang"): void {
    writeFileSync(this.control, what);
  }

  heal(): void {
    rmSync(this.control);
  }
}
