import { kinds } from "/tmp/w/lead/test/sim/kinds.js";
const [kind, a, b] = process.argv.slice(2);
let bad = 0, n = 0;
for (let s = Number(a); s <= Number(b); s++) {
  try { await kinds[kind](s); } catch (e) { bad++; console.log(kind, s, String(e.message).split("\n")[0].slice(0, 260)); }
  n++;
}
console.log(kind, a, b, "told", n, "faults", bad);
