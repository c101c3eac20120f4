// Writes docs/config.md from the config schema. Run: node --import tsx scripts/config_docs.ts
import { writeFileSync } from "node:fs";
import { describeConfig } from "../src/config/describe.ts";

writeFileSync(new URL("../docs/config.md", import.meta.url), describeConfig());
