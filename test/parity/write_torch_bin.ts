/**
 * Writes a pytorch_model.bin by our writer for golden/make/torch_bin.py to have read by torch.load.
 *
 *   node --import tsx test/parity/write_torch_bin.ts <file>
 */
import process from "node:process";
import { writeTorchBin } from "../../src/io/torch/writer.ts";
import { tensors } from "../unit/torch_bin_tensors.ts";

const [path] = process.argv.slice(2);
if (path === undefined) throw new TypeError("Usage: write_torch_bin.ts <file>");
await writeTorchBin(path, tensors);
