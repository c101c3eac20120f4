// Reads apt's source files, to find another suite of Debian where the machine gets its own release.
// Pure: text in, text out. Formats: sources.list(5), one-line and deb822.

/**
 * @typedef {{ extension: "list" | "sources", text: string }} SourceFile
 */

/**
 * The source that adds `<codename>-backports`, copied from the source of `<codename>`.
 * @param {SourceFile[]} files every source file of the machine
 * @param {string} codename for example "bookworm"
 * @returns {SourceFile | "present" | undefined} "present" when the backports are a source already; undefined when
 *   no file names the release's component main
 */
export function backportsSource(files, codename) {
  const suite = `${codename}-backports`;
  const isPresent = entriesOf(files).some((entry) =>
    entry.suites.includes(suite) && entry.components.includes("main")
  );
  return isPresent ? "present" : suiteSource(files, codename, suite);
}

/**
 * The source of another suite, copied from the source of `codename`: same address, same key.
 * @param {SourceFile[]} files every source file of the machine
 * @param {string} codename of the machine's release
 * @param {string} suite for example "testing"
 * @returns {SourceFile | undefined} undefined when no file names the release's component main
 */
export function suiteSource(files, codename, suite) {
  const release = entriesOf(files).find((entry) =>
    entry.suites.includes(codename) && entry.components.includes("main")
  );
  return release && { extension: release.extension, text: release.withSuite(suite) };
}

/** @param {SourceFile[]} files */
function entriesOf(files) {
  return files.flatMap((file) => file.extension === "list" ? oneLineEntries(file) : stanzaEntries(file));
}

/**
 * @typedef {object} Entry one enabled binary source
 * @property {"list" | "sources"} extension
 * @property {string[]} suites
 * @property {string[]} components
 * @property {(suite: string) => string} withSuite the same source for component main of another suite
 */

/**
 * `deb [options] uri suite component...`
 * @param {SourceFile} file
 * @returns {Entry[]}
 */
function oneLineEntries({ text }) {
  return text.split("\n").flatMap((line) => {
    const match = line.replace(/#.*/, "").match(/^\s*deb\s+(\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s+(.+)$/);
    if (!match) return [];
    const [, options = "", uri, suite, components] = match;
    return [{
      extension: /** @type {const} */ ("list"),
      suites: [suite],
      components: words(components),
      withSuite: (/** @type {string} */ other) => `deb ${options}${uri} ${other} main\n`,
    }];
  });
}

/**
 * Stanzas of `Field: value`, where a line that starts with a blank goes on with the field before (keys do).
 * @param {SourceFile} file
 * @returns {Entry[]}
 */
function stanzaEntries({ text }) {
  const withoutComments = text.split("\n").filter((line) => !line.startsWith("#")).join("\n");
  return withoutComments.split(/\n\s*\n/).flatMap((stanza) => {
    const fields = new Map(
      [...stanza.matchAll(/^(\S+?):(.*(?:\n[ \t].*)*)/gm)].map((
        [, name, value],
      ) => [name.toLowerCase(), { name, value: value.trim() }]),
    );
    const field = (/** @type {string} */ name) => words(fields.get(name)?.value ?? "");
    if (!field("types").includes("deb") || field("enabled")[0] === "no") return [];
    return [{
      extension: /** @type {const} */ ("sources"),
      suites: field("suites"),
      components: field("components"),
      withSuite: (/** @type {string} */ other) => {
        const changed = new Map([["types", "deb"], ["suites", other], ["components", "main"]]);
        return [...fields].map(([key, { name, value }]) => `${name}: ${changed.get(key) ?? value}\n`).join(
          "",
        );
      },
    }];
  });
}

/** @param {string} text */
function words(text) {
  return text.split(/\s+/).filter((word) => word !== "");
}
