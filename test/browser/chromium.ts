/** A headless Chromium that is told what to do by its DevTools protocol. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { WebSocket } from "undici";

const ANSWER_MS = 30_000;

interface Message {
  id?: number;
  sessionId?: string;
  method?: string;
  // deno-lint-ignore no-explicit-any
  params?: any;
  // deno-lint-ignore no-explicit-any
  result?: any;
  error?: { message: string };
}

type Call = { resolve(result: unknown): void; reject(error: Error): void };

export class Browser {
  readonly #process: ChildProcess;
  readonly #socket: WebSocket;
  readonly #profile: string;
  readonly #calls = new Map<number, Call>();
  readonly #listeners = new Map<string, (message: Message) => void>();
  #lastId = 0;

  private constructor(child: ChildProcess, socket: WebSocket, profile: string) {
    this.#process = child;
    this.#socket = socket;
    this.#profile = profile;
    socket.addEventListener("message", ({ data }) => this.#take(JSON.parse(String(data))));
  }

  static async open(): Promise<Browser> {
    const profile = await mkdtemp(join(tmpdir(), "grpo-webgpu-browser-"));
    const flags = ["--headless", "--disable-gpu", "--remote-debugging-port=0", `--user-data-dir=${profile}`];
    // Its sandbox refuses to be root's.
    if (process.getuid?.() === 0) flags.push("--no-sandbox");
    const child = spawn("chromium", [...flags, "about:blank"], { stdio: ["ignore", "ignore", "pipe"] });
    const url = await new Promise<string>((resolve, reject) => {
      let said = "";
      child.on("error", reject);
      child.on("exit", (code) => reject(new Error(`Chromium ended with ${code}: ${said}`)));
      child.stderr!.setEncoding("utf8").on("data", (text: string) => {
        said += text;
        const found = /DevTools listening on (ws:\S+)/.exec(said);
        if (found) resolve(found[1]);
      });
    });
    const socket = new WebSocket(url);
    await new Promise((resolve, reject) => {
      socket.addEventListener("open", resolve);
      socket.addEventListener("error", reject);
    });
    return new Browser(child, socket, profile);
  }

  // deno-lint-ignore no-explicit-any
  send(method: string, params: object = {}, sessionId?: string): Promise<any> {
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`No answer to ${method}`)), ANSWER_MS);
      const settled = <Value>(then: (value: Value) => void) => (value: Value) => {
        clearTimeout(timer);
        then(value);
      };
      this.#calls.set(id, { resolve: settled(resolve), reject: settled(reject) });
      this.#socket.send(JSON.stringify({ id, method, params, sessionId }));
    });
  }

  /** A new page, `width` pixels wide. */
  async page({ width = 1280, height = 900 } = {}): Promise<Page> {
    const { targetId } = await this.send("Target.createTarget", { url: "about:blank" });
    const { sessionId } = await this.send("Target.attachToTarget", { targetId, flatten: true });
    const page = new Page((method, params) => this.send(method, params, sessionId));
    this.#listeners.set(sessionId, (message) => page.take(message.method!, message.params));
    for (const domain of ["Page", "Runtime", "Log", "Network"]) await page.send(`${domain}.enable`);
    const metrics = { width, height, deviceScaleFactor: 1, mobile: width < 600 };
    await page.send("Emulation.setDeviceMetricsOverride", metrics);
    return page;
  }

  async close(): Promise<void> {
    const ended = new Promise((resolve) => this.#process.once("exit", resolve));
    this.#process.kill();
    await ended;
    this.#socket.close();
    await rm(this.#profile, { recursive: true, force: true, maxRetries: 5 });
  }

  #take(message: Message): void {
    const call = this.#calls.get(message.id ?? -1);
    if (!call) return void this.#listeners.get(message.sessionId ?? "")?.(message);
    this.#calls.delete(message.id!);
    if (message.error) call.reject(new Error(message.error.message));
    else call.resolve(message.result);
  }
}

export class Page {
  /** What the console showed as errors or warnings, exceptions and refusals of the page's policy among them. */
  readonly errors: string[] = [];
  /** URLs that the page asked for. */
  readonly requests: string[] = [];
  // deno-lint-ignore no-explicit-any
  readonly send: (method: string, params?: object) => Promise<any>;

  constructor(send: Page["send"]) {
    this.send = send;
  }

  // deno-lint-ignore no-explicit-any
  take(method: string, params: any): void {
    if (method === "Runtime.exceptionThrown") {
      this.errors.push(params.exceptionDetails.exception?.description ?? params.exceptionDetails.text);
    } else if (method === "Log.entryAdded" && params.entry.level !== "info") {
      this.errors.push(params.entry.text);
    } else if (method === "Runtime.consoleAPICalled") {
      this.errors.push(JSON.stringify(params.args));
    } else if (method === "Network.requestWillBeSent") {
      this.requests.push(params.request.url);
    }
  }

  async open(url: string): Promise<void> {
    await this.send("Page.navigate", { url });
    await this.until("document.readyState === 'complete' && location.href !== 'about:blank'");
  }

  /** The value of an expression in the page. */
  // deno-lint-ignore no-explicit-any
  async evaluate(expression: string): Promise<any> {
    const { result, exceptionDetails } = await this.send("Runtime.evaluate", {
      expression,
      returnByValue: true,
      awaitPromise: true,
    });
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  }

  async until(expression: string, timeoutMs = 15_000): Promise<void> {
    const end = Date.now() + timeoutMs;
    while (!await this.evaluate(expression)) {
      if (Date.now() > end) throw new Error(`Not within ${timeoutMs} ms: ${expression}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** The mouse at places of an element, as shares of its width and height. */
  async mouse(
    selector: string,
    type: "mouseMoved" | "mousePressed" | "mouseReleased",
    x: number,
    y = 0.5,
    clicks = 1,
  ) {
    const at = await this.evaluate(
      `(() => { const e = document.querySelector(${JSON.stringify(selector)}); ` +
        `e.scrollIntoView({ block: "center" }); const r = e.getBoundingClientRect(); ` +
        `return [r.left + ${x} * r.width, r.top + ${y} * r.height]; })()`,
    );
    const button = type === "mouseMoved" ? {} : { button: "left", clickCount: clicks };
    await this.send("Input.dispatchMouseEvent", { type, x: at[0], y: at[1], buttons: 1, ...button });
  }

  /** A PNG of the whole page, in base64. */
  async screenshot(): Promise<string> {
    const { cssContentSize: { width, height } } = await this.send("Page.getLayoutMetrics");
    const clip = { x: 0, y: 0, width, height: Math.min(height, 8000), scale: 1 };
    return (await this.send("Page.captureScreenshot", { captureBeyondViewport: true, clip })).data;
  }
}
