/** The client's side of SCRAM-SHA-256, written for tests from RFC 5802 alone. */
import assert from "node:assert/strict";
import { createHash, createHmac, pbkdf2Sync } from "node:crypto";

const hmac = (key: Buffer, data: string): Buffer => createHmac("sha256", key).update(data).digest();

export class ScramClient {
  /** What `final` was made of; the server's signature covers it too. */
  private covered = "";
  private salted = Buffer.alloc(0);

  constructor(
    readonly name: string,
    readonly password: string,
    readonly nonce = Math.random().toString(36).slice(2),
    readonly header = "n,,",
  ) {}

  first(): Buffer {
    return Buffer.from(this.header + this.bare);
  }

  /** The answer to the server's first message. */
  final(serverFirst: Uint8Array): Buffer {
    const text = Buffer.from(serverFirst).toString();
    const match = /^r=([^,]+),s=([^,]+),i=(\d+)$/.exec(text);
    assert.ok(match !== null, text);
    const [, nonce = "", salt = "", iterations] = match;
    assert.ok(nonce.startsWith(this.nonce) && nonce.length > this.nonce.length);
    const saltBytes = Buffer.from(salt, "base64");
    this.salted = pbkdf2Sync(this.password, saltBytes, Number(iterations), 32, "sha256");
    const withoutProof = `c=${Buffer.from(this.header).toString("base64")},r=${nonce}`;
    this.covered = `${this.bare},${text},${withoutProof}`;
    const clientKey = hmac(this.salted, "Client Key");
    const storedKey = createHash("sha256").update(clientKey).digest();
    const signature = hmac(storedKey, this.covered);
    const proof = clientKey.map((byte, index) => byte ^ (signature[index] ?? 0));
    return Buffer.from(`${withoutProof},p=${Buffer.from(proof).toString("base64")}`);
  }

  /** Whether the server has shown that it knows the user's verifier. */
  accepts(serverFinal: Uint8Array | undefined): boolean {
    const signature = hmac(hmac(this.salted, "Server Key"), this.covered).toString("base64");
    return Buffer.from(serverFinal ?? []).toString() === `v=${signature}`;
  }

  private get bare(): string {
    const name = this.name.replaceAll("=", "=3D").replaceAll(",", "=2C");
    return `n=${name},r=${this.nonce}`;
  }
}
