/** The programs of a report's page: uPlot and ours, as text, and the policy that lets these run and nothing else. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const FOLDER = new URL("../../page/", import.meta.url);
const PARTS = ["elements.js", "plots.js", "scatter.js", "tokens.js", "samples.js", "report.js"];

interface Programs {
  /** Each as the content of a script element. */
  scripts: readonly string[];
  css: string;
}

let loaded: Programs | undefined;

/**
 * uPlot, then the page's own program.
 * @throws Error when a file of the package is missing
 */
export function pagePrograms(): Programs {
  loaded ??= load();
  return loaded;
}

function load(): Programs {
  const require = createRequire(import.meta.url);
  // Modules while they are written, so that tools can check them; one script in the page, which loads nothing.
  const own = PARTS.map((name) =>
    readFileSync(new URL(name, FOLDER), "utf8").replace(/^import [^;]*;$/gm, "").replace(/^export /gm, "")
  ).join("\n");
  const scripts = [
    readFileSync(require.resolve("uplot/dist/uPlot.iife.min.js"), "utf8"),
    `"use strict";(() => {\n${own}\n})();`,
  ];
  const css = readFileSync(require.resolve("uplot/dist/uPlot.min.css"), "utf8") +
    readFileSync(new URL("report.css", FOLDER), "utf8");
  return { scripts, css };
}

/**
 * The policy forbids every request, and every script but those of these exact texts: text of the model stays text,
 * even past a mistake in escaping.
 * @param isLive whether the page may ask the server that it came from
 */
export function contentPolicy(scripts: readonly string[], isLive: boolean): string {
  const hashes = scripts.map((script) => `'sha256-${createHash("sha256").update(script).digest("base64")}'`);
  const policy = `default-src 'none'; style-src 'unsafe-inline'; script-src ${hashes.join(" ")}; ` +
    "base-uri 'none'; form-action 'none'";
  return isLive ? `${policy}; connect-src 'self'` : policy;
}

/** JSON as the content of a script element, which nothing in it can end. */
export const inertJson = (value: unknown): string => JSON.stringify(value).replace(/</g, "\\u003c");
