/** `npm run test:fuzz -- --cases N --seed S`: fuzz.test.ts with other numbers. */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: {
    cases: { type: "string", default: "1000000" },
    seed: { type: "string", default: `${Date.now() % 1_000_000_000}` },
  },
});
for (const [name, value] of Object.entries(values)) {
  if (!/^\d{1,10}$/.test(value)) throw new Error(`--${name} takes a number`);
}
process.stdout.write(`cases ${values.cases}, seed ${values.seed}\n`);
const result = spawnSync(
  process.execPath,
  [
    ...["--expose-gc", "--import", "tsx", "--test-reporter=spec"],
    fileURLToPath(new URL("fuzz.test.ts", import.meta.url)),
  ],
  {
    stdio: "inherit",
    env: { ...process.env, FUZZ_CASES: values.cases, FUZZ_SEED: values.seed, FUZZ_JUDGE: "1" },
  },
);
process.exitCode = result.status ?? 1;
