/** A process of the command line with the stand-in for the broker; see fake-node.ts. */
import { fakeDependencies } from "./fake-node.js";
import { main } from "../../src/cli/main.js";

process.exitCode = await main(process.argv.slice(2), fakeDependencies());
