/** Access rules from a file that a test writes. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { Acl, type AclSettings } from "../../src/auth/acl/acl.js";
import { type Log, silentLog } from "../../src/lib/log.js";

/** Rules whose file can be written anew. */
export class TestAcl extends Acl {
  constructor(
    readonly path: string,
    settings: Partial<AclSettings> = {},
    log: Log = silentLog,
  ) {
    super({ acl_format: "trellis", acl_default: "deny", ...settings, acl_file: path }, log);
  }

  write(...lines: string[]): void {
    writeFileSync(this.path, `${lines.join("\n")}\n`);
  }
}

/** Rules that are in force. */
export async function testAcl(
  t: TestContext,
  lines: readonly string[],
  settings: Partial<AclSettings> = {},
  log: Log = silentLog,
): Promise<TestAcl> {
  const folder = mkdtempSync(join(tmpdir(), "trellis-acl-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const acl = new TestAcl(join(folder, "acl"), settings, log);
  acl.write(...lines);
  await acl.open();
  return acl;
}
