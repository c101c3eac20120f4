// A process that tests kill: downloads "org/name" and says so. Arguments: endpoint, cache folder.
import process from "node:process";
import { fetchModel } from "../../src/io/hub/cache.ts";

const [endpoint, cacheDir] = process.argv.slice(2);
const name = { id: "org/name", revision: undefined };
const { dir } = await fetchModel(name, { endpoint, cacheDir, offline: false, retryDelayMs: 10 });
process.stdout.write(`${dir}\n`);
