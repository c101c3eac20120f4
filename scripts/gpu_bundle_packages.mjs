// Copies the files of node_modules that the GPU report loads: a tenth of what is installed.
//   node scripts/gpu_bundle_packages.mjs CHECKOUT BUNDLE
// Plain JavaScript without packages of its own but esbuild, which tsx brings.
import { cpSync, existsSync, mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, sep } from "node:path";
import process from "node:process";

const [checkout, bundle] = process.argv.slice(2);
const require = createRequire(join(checkout, "package.json"));
// esbuild is a package of tsx, not ours.
const esbuild = createRequire(require.resolve("tsx/package.json"))("esbuild");
/** Taken whole, but for what another machine's would be: they load files by names that they make up. */
const WHOLE = ["tsx", "esbuild", "@esbuild/linux-x64", "get-tsconfig", "resolve-pkg-maps"];
/** What the programs load by a name that no bundler follows. */
const REQUIRED = ["@tensorflow/tfjs-backend-webgpu"];
const ENTRIES = ["bench/gpu_report/main.ts", "bench/gpu_report/part.ts"];

/** @param {string} path below node_modules: "@scope/name/..." or "name/..." */
function packageOf(path) {
  const parts = path.split("/");
  return parts.slice(0, parts[0].startsWith("@") ? 2 : 1).join("/");
}

/** @param {string} path below the checkout */
function copy(path) {
  mkdirSync(dirname(join(bundle, path)), { recursive: true });
  cpSync(join(checkout, path), join(bundle, path), { recursive: true, dereference: true });
}

const { metafile } = await esbuild.build({
  absWorkingDir: checkout,
  entryPoints: [...ENTRIES, ...REQUIRED.map((name) => require.resolve(name))],
  bundle: true,
  write: false,
  outdir: "unused",
  platform: "node",
  format: "esm",
  metafile: true,
  logLevel: "error",
  external: ["*.node"],
});
const loaded = Object.keys(metafile.inputs).filter((path) => path.startsWith("node_modules/"));
// What Node resolves differently from a bundler: every package that is loaded brings its own entry too.
const packages = new Set(loaded.map((path) => packageOf(path.slice("node_modules/".length))));
for (const name of packages) {
  copy(join("node_modules", name, "package.json"));
  try {
    const entry = require.resolve(name);
    if (entry.startsWith(join(checkout, "node_modules") + sep)) copy(entry.slice(checkout.length + 1));
  } catch {
    // A package of modules alone: its files are among those that are loaded.
  }
}
for (const path of loaded) copy(path);
for (const name of WHOLE) {
  if (existsSync(join(checkout, "node_modules", name))) copy(join("node_modules", name));
}
copy("node_modules/webgpu/package.json");
copy("node_modules/webgpu/index.js");
copy("node_modules/webgpu/dist/linux-x64");
