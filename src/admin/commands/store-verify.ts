/** `store verify`: reads everything that is stored and compares its checksums. */
import { command } from "../command.js";
import { count, printable, table } from "../render.js";

export const storeVerify = command({
  summary: "read all that this node has stored, and check every record",
  args: {},
  run: ({ store }) => store.verify(),
  text: ({ partitions, records, bytes, wrong, damaged }) => {
    const seen = `${count(records, "record")} of ${bytes} bytes in ${count(partitions, "partition")}`;
    if (wrong === 0) return `${seen}, all whole`;
    const rows = damaged.map(({ partition, key }) => [printable(partition), printable(key)]);
    return `${seen}, ${wrong} with a wrong checksum\n${table(["partition", "key"], rows)}`;
  },
});
