/** Figures of several runs by name, and the table of their minima, medians and maxima in Markdown. */

import { median } from "../src/cli/bench/histogram.js";

export interface RunTable {
  note(name: string, value: number): void;
  print(title: string): void;
  medians(): Record<string, number>;
}

export function runTable(): RunTable {
  const figures = new Map<string, number[]>();
  return {
    note: (name, value) => {
      const all = figures.get(name);
      if (all === undefined) figures.set(name, [value]);
      else all.push(value);
    },
    medians: () => Object.fromEntries([...figures].map(([name, values]) => [name, median(values)])),
    print: (title) => {
      console.log(`${title}\n\n| what | min | median | max |\n| --- | ---: | ---: | ---: |`);
      for (const [name, values] of figures) {
        values.sort((a, b) => a - b);
        const shown = [values[0], values[values.length >> 1], values[values.length - 1]];
        const cells = shown.map((value) => Math.round(value ?? 0).toLocaleString("en-US"));
        console.log(`| ${name} | ${cells.join(" | ")} |`);
      }
    },
  };
}
