import { kinds } from "./sim/kinds.js";
(globalThis as any).WL = (...a: unknown[]) => console.log(...a);
kinds.adoptedMoves(Number(process.argv[2])).catch((e) => console.log(String(e.message).split("\n")[0]));
