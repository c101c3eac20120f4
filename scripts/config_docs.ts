// Writes docs/config.md and docs/from-trl.md from the config schema. Run: node --import tsx scripts/config_docs.ts
import { readFileSync, writeFileSync } from "node:fs";
import { describeConfig } from "../src/config/describe.ts";
import { describeTrl } from "../src/config/describe_trl.ts";

const trlKeys = JSON.parse(readFileSync(new URL("../test/golden/trl_keys.json", import.meta.url), "utf8"));
writeFileSync(new URL("../docs/config.md", import.meta.url), describeConfig());
writeFileSync(new URL("../docs/from-trl.md", import.meta.url), describeTrl(trlKeys));
