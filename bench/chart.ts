/**
 * The comparison as a picture: messages per CPU second of each broker, case by case, as bars on a logarithmic scale.
 * Colours follow the reader's light or dark background.
 */
import { type Measured, middle } from "./table.js";

const width = 860;
const labelWidth = 230;
const valueWidth = 100;
const barHeight = 15;
const groupGap = 14;
const top = 64;
const bottom = 34;

const style = `
  text { font: 13px system-ui, sans-serif; fill: #1f2328; }
  .title { font-size: 16px; font-weight: 600; }
  .small { font-size: 11px; fill: #59636e; }
  .grid { stroke: #d1d9e0; }
  .b0 { fill: #0969da; } .b1 { fill: #bf8700; } .b2 { fill: #8250df; } .b3 { fill: #6e7781; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; } .small { fill: #9198a1; } .grid { stroke: #3d444d; }
    .b0 { fill: #4493f8; } .b1 { fill: #d29922; } .b2 { fill: #ab7df8; } .b3 { fill: #9198a1; }
  }`;

interface Bar {
  readonly broker: string;
  readonly value: number;
}

/** An SVG document; cases without messages per CPU second are left out. */
export function chart(measured: readonly Measured[], caption: string): string {
  const groups = new Map<string, Bar[]>();
  for (const one of measured) {
    const value = middle(one, (result) => result.perCpuSecond);
    if (value === undefined || value <= 0) continue;
    const bars = groups.get(one.case.title) ?? [];
    bars.push({ broker: one.broker, value });
    groups.set(one.case.title, bars);
  }
  const brokers = [...new Set([...groups.values()].flat().map(({ broker }) => broker))];
  const all = [...groups.values()].flat().map(({ value }) => value);
  const least = 10 ** Math.floor(Math.log10(Math.min(1e4, ...all)));
  const most = 10 ** Math.ceil(Math.log10(Math.max(1e5, ...all)));
  const plot = width - labelWidth - valueWidth;
  const x = (value: number): number =>
    labelWidth + (plot * Math.log10(value / least)) / Math.log10(most / least);
  const parts: string[] = [];
  let y = top;
  for (const [title, bars] of groups) {
    const middleOfGroup = y + (bars.length * barHeight) / 2 + 4;
    parts.push(text(labelWidth - 8, middleOfGroup, title, "", "end"));
    for (const { broker, value } of bars) {
      const end = x(value);
      const colour = `b${brokers.indexOf(broker) % 4}`;
      const size = `width="${(end - labelWidth).toFixed(1)}" height="${barHeight - 3}"`;
      parts.push(`<rect class="${colour}" x="${labelWidth}" y="${y}" ${size} rx="2"/>`);
      parts.push(text(end + 6, y + 11, short(value), "small"));
      y += barHeight;
    }
    y += groupGap;
  }
  const lines = caption.match(/.{1,120}(?: |$)/g) ?? [];
  const height = y + bottom + 14 * lines.length;
  const grid: string[] = [];
  for (let value = least; value <= most; value *= 10) {
    const at = x(value).toFixed(1);
    grid.push(`<line class="grid" x1="${at}" x2="${at}" y1="${top - 6}" y2="${y}"/>`);
    grid.push(text(x(value), y + 14, short(value), "small", "middle"));
  }
  const legend = brokers.map((broker, i) => {
    const left = labelWidth + i * 130;
    const square = `<rect class="b${i % 4}" x="${left}" y="36" width="12" height="12" rx="2"/>`;
    return square + text(left + 18, 47, broker);
  });
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img">`,
    `<title>Messages per broker CPU second</title><style>${style}</style>`,
    text(12, 22, "Messages, or connects, per CPU second of the broker (logarithmic)", "title"),
    ...legend,
    ...grid,
    ...parts,
    ...lines.map((line, i) => text(12, y + bottom + 6 + 14 * i, line.trim(), "small")),
    "</svg>",
  ].join("\n")}\n`;
}

function text(x: number, y: number, content: string, name = "", anchor = "start"): string {
  const escaped = content.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const classes = name === "" ? "" : ` class="${name}"`;
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}"${classes}>${escaped}</text>`;
}

/** 1.2 M, 340 k. */
function short(value: number): string {
  if (value >= 1e6) return `${trim(value / 1e6)} M`;
  return value >= 1e3 ? `${trim(value / 1e3)} k` : trim(value);
}

function trim(value: number): string {
  return value >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(2)));
}
