/** scripts/apt_sources.mjs: another suite than the machine's release, found where it gets the release itself. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { backportsSource, suiteSource } from "../../scripts/apt_sources.mjs";

const STANZAS = `# The mirror of this machine
Types: deb deb-src
URIs: mirror+file:/etc/apt/mirrors/debian.list
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abcd
 -----END PGP PUBLIC KEY BLOCK-----

Types: deb
URIs: http://mirror.example/security
Suites: bookworm-security
Components: main
`;

test("a deb822 stanza is copied with its address and inline key; only type, suite and component change", () => {
  assert.deepEqual(backportsSource([{ extension: "sources", text: STANZAS }], "bookworm"), {
    extension: "sources",
    text: `Types: deb
URIs: mirror+file:/etc/apt/mirrors/debian.list
Suites: bookworm-backports
Components: main
Signed-By: -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abcd
 -----END PGP PUBLIC KEY BLOCK-----
`,
  });
});

test("a one-line source is copied with its options", () => {
  const text = `# deb http://old.example bookworm main
deb-src http://mirror.example/debian bookworm main
deb [arch=amd64 signed-by=/usr/share/keyrings/a.gpg] http://mirror.example/debian bookworm main contrib # ours
`;
  assert.deepEqual(backportsSource([{ extension: "list", text }], "bookworm"), {
    extension: "list",
    text:
      "deb [arch=amd64 signed-by=/usr/share/keyrings/a.gpg] http://mirror.example/debian bookworm-backports main\n",
  });
});

test("backports that are a source already are not added again", () => {
  const text = "deb http://mirror.example/debian bookworm-backports main\n";
  assert.equal(
    backportsSource([{ extension: "sources", text: STANZAS }, { extension: "list", text }], "bookworm"),
    "present",
  );
});

test("a disabled stanza, another release and no file at all give no source", () => {
  const disabled = STANZAS.replace("Types: deb deb-src", "Enabled: no\nTypes: deb");
  assert.equal(backportsSource([{ extension: "sources", text: disabled }], "bookworm"), undefined);
  assert.equal(backportsSource([{ extension: "sources", text: STANZAS }], "trixie"), undefined);
  assert.equal(backportsSource([], "bookworm"), undefined);
});

test("another suite is copied from the release's source, whether the release has backports or none", () => {
  const text = "deb [signed-by=/k.gpg] http://mirror.example/debian bookworm main\n" +
    "deb http://mirror.example/debian bookworm-backports main\n";
  const file = { extension: "list" as const, text };
  assert.deepEqual(suiteSource([file], "bookworm", "testing"), {
    extension: "list",
    text: "deb [signed-by=/k.gpg] http://mirror.example/debian testing main\n",
  });
  assert.equal(suiteSource([file], "trixie", "testing"), undefined);
});
