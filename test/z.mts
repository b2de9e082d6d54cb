import { tellScene } from "./sim/scenes/index.js";
const [name, from, to] = process.argv.slice(2);
let bad = 0;
for (let s = Number(from); s <= Number(to); s++) { try { await tellScene(name as never, s); } catch (e) { bad++; console.log(s, String((e as Error).message).slice(0, Number(process.env.N ?? 300))); } }
console.log("bad", bad);
