// Asks for a GPU adapter the way the trainer does: Dawn (package `webgpu`) in Node, the built-in wgpu in Deno.
// Runs as a child process, so that a crashing driver cannot take the caller down.
// stdout: the adapter's name. Exit code: 0 adapter found, 1 none.
import process from "node:process";

const gpu = "Deno" in globalThis ? globalThis.navigator.gpu : (await import("webgpu")).create([]);
const adapter = await gpu?.requestAdapter();
if (adapter) console.log(adapter.info.description || adapter.info.device || adapter.info.vendor || "unnamed");
// Dawn's instance would keep the process alive.
process.exit(adapter ? 0 : 1);
