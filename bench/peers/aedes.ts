/** The aedes broker with its defaults in a process of its own: `tsx bench/peers/aedes.ts PORT`. */
import { createServer } from "node:net";
import { Aedes } from "aedes";

const broker = await Aedes.createBroker();
createServer(broker.handle).listen(Number(process.argv[2] ?? 1883), "127.0.0.1");
