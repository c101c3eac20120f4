/** The health of services that answer 200 and nothing else. */
import { show } from "../messages.ts";
import type { ScorerApi } from "./api.ts";

/** @param name of the service, in place of a device */
export function healthWithoutWords(name: string): ScorerApi["health"] {
  return {
    path: "/health",
    isJson: false,
    read(answer) {
      if (answer === "") return { status: "healthy", device: name };
      throw new TypeError(`health is ${show(answer)}; ${name} answers nothing`);
    },
  };
}
