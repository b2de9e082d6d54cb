/** The memory store keeps the contract of every store. */
import { MemoryStore } from "../../src/store/memory.js";
import { storeContract } from "../contract/store.js";

storeContract("memory", { open: async () => new MemoryStore(), lasts: false });
