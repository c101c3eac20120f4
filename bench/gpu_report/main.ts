/** The report by itself, where the door of the project is not: in the bundle that scripts/gpu_bundle.sh packs. */
import { gpuReportCommand } from "./command.ts";

process.exitCode = await gpuReportCommand(process.argv.slice(2));
