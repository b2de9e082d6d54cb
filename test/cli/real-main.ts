/** A process of the command line with the real broker, from source. */
import { main } from "../../src/cli/main.js";
import { sourceDependencies } from "./real-node.js";

process.exitCode = await main(process.argv.slice(2), sourceDependencies());
