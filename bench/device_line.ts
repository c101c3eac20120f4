/** Where and when a table was measured: its first line. */
import type { Gpu } from "../src/gpu/device.ts";

export interface Measured {
  device: string;
  driver: string;
  /** "node 20.20.2" */
  runtime: string;
  /** ISO 8601. */
  date: string;
}

/** On this device, now. */
export function measuredOn({ info }: Gpu): Measured {
  return {
    device: info.name,
    driver: info.driver,
    runtime: `${info.runtime} ${info.runtimeVersion}`,
    date: new Date().toISOString(),
  };
}

export const deviceLine = ({ device, driver, runtime, date }: Measured) =>
  `${device} (${driver}), ${runtime}, ${date}`;
