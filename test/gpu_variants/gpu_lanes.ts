/** Loaded before a test file: all of it runs the kernels of an NVIDIA card (`withGpuLanes` of src/gpu/trial_modes.ts). */
import { takeGpuLanes } from "../../src/gpu/trial_modes.ts";

takeGpuLanes();
