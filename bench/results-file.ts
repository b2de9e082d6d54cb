/**
 * The results of a comparison on disk, a line as each measurement ends, so that one that was cut off can be continued.
 * The first line says what is compared and how: what was measured otherwise is not put into one table.
 */
import { appendFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import type { Figures } from "./figures.js";

/** One case of one broker in one run. */
export interface Result {
  readonly run: number;
  readonly case: string;
  readonly broker: string;
  readonly figures: Figures;
}

export class ResultsFile {
  private constructor(
    private readonly file: string,
    /** What had been measured before, without what failed. */
    readonly before: readonly Result[],
  ) {}

  /** Begins anew, or goes on with what is there. @throws Error when that was measured with other options */
  static open(file: string, settings: unknown, isContinued: boolean): ResultsFile {
    const first = JSON.stringify({ settings });
    if (!isContinued) {
      writeFileSync(file, `${first}\n`);
      return new ResultsFile(file, []);
    }
    if (!existsSync(file)) throw new Error(`there is nothing to continue: ${file} is missing`);
    const text = readFileSync(file, "utf8");
    // A line that was cut off in the middle is measured again.
    const whole = text.slice(0, text.lastIndexOf("\n") + 1);
    if (whole !== text) writeFileSync(file, whole);
    const [head, ...lines] = whole.trimEnd().split("\n");
    if (head !== first) {
      throw new Error(
        `${file} was measured with other options, brokers or versions: ${head}; begin anew without --continue`,
      );
    }
    // The lines are our own.
    return new ResultsFile(
      file,
      lines.map((line) => JSON.parse(line) as Result),
    );
  }

  add(result: Result): void {
    appendFileSync(this.file, `${JSON.stringify(result)}\n`);
  }
}
