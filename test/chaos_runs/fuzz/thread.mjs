// Begins worker.ts: Node 20 gives its threads no loader of TypeScript.
if (!("Deno" in globalThis)) (await import("tsx/esm/api")).register();
await import("./worker.ts");
