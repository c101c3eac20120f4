/** What a scorer service counts, as Prometheus reads it (text format 0.0.4). */
import type { BatchReport } from "./batches.ts";

export interface ServiceMetrics {
  request(route: string, status: number, seconds: number): void;
  batch(report: BatchReport): void;
  /** Conversations that were longer than is read. */
  cut(conversations: number): void;
  /** @param now what waits */
  text(now: { queueTokens: number; queueBytes: number; requests: number }): string;
}

export const METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8";

interface Histogram {
  add(value: number, labels?: string): void;
  lines(): string[];
}

const series = (name: string, labels: string, value: number) =>
  `${name}${labels === "" ? "" : `{${labels}}`} ${value}`;

function histogram(name: string, help: string, bounds: readonly number[]): Histogram {
  const byLabels = new Map<string, { counts: number[]; sum: number; count: number }>();
  return {
    add(value, labels = "") {
      const own = byLabels.get(labels) ?? { counts: bounds.map(() => 0), sum: 0, count: 0 };
      byLabels.set(labels, own);
      bounds.forEach((bound, i) => own.counts[i] += value <= bound ? 1 : 0);
      own.sum += value;
      own.count++;
    },
    lines: () => [
      ...headOf(name, "histogram", help),
      ...[...byLabels].flatMap(([labels, { counts, sum, count }]) => {
        const upTo = (bound: string) => [labels, `le="${bound}"`].filter(Boolean).join(",");
        return [
          ...bounds.map((bound, i) => series(`${name}_bucket`, upTo(String(bound)), counts[i])),
          series(`${name}_bucket`, upTo("+Inf"), count),
          series(`${name}_sum`, labels, sum),
          series(`${name}_count`, labels, count),
        ];
      }),
    ],
  };
}

const headOf = (
  name: string,
  type: string,
  help: string,
) => [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`];

const single = (name: string, type: "counter" | "gauge", help: string, value: number) => [
  ...headOf(name, type, help),
  series(name, "", value),
];

const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];
const POWERS_OF_2 = Array.from({ length: 10 }, (_, i) => 2 ** i);

export function createServiceMetrics(): ServiceMetrics {
  const requests = new Map<string, number>();
  const latency = histogram("scorer_request_seconds", "From a request to its answer.", SECONDS);
  const batchTexts = histogram("scorer_batch_texts", "Texts that were scored at once.", POWERS_OF_2);
  const batchTokens = histogram(
    "scorer_batch_tokens",
    "Tokens that were scored at once, of both models.",
    POWERS_OF_2.map((power) => 128 * power),
  );
  const batchSeconds = histogram("scorer_batch_seconds", "What a batch took on the GPU.", SECONDS);
  let gpuBytes = 0;
  let cut = 0;
  return {
    request(route, status, seconds) {
      const labels = `route="${route}",status="${status}"`;
      requests.set(labels, (requests.get(labels) ?? 0) + 1);
      latency.add(seconds, `route="${route}"`);
    },
    batch(report) {
      batchTexts.add(report.texts);
      batchTokens.add(report.tokens);
      batchSeconds.add(report.seconds);
      gpuBytes = report.gpuBytes;
    },
    cut: (conversations) => void (cut += conversations),
    text: (now) =>
      [
        ...headOf("scorer_requests_total", "counter", "Requests that were answered."),
        ...[...requests].map(([labels, count]) => series("scorer_requests_total", labels, count)),
        ...single("scorer_requests", "gauge", "Requests that are being answered.", now.requests),
        ...single("scorer_queue_tokens", "gauge", "Tokens that wait, at most.", now.queueTokens),
        ...single("scorer_queue_bytes", "gauge", "Bytes of requests that wait.", now.queueBytes),
        ...single("scorer_cut_conversations_total", "counter", "Conversations longer than is read.", cut),
        ...single("scorer_gpu_bytes", "gauge", "GPU memory after the last batch.", gpuBytes),
        ...single(
          "process_resident_memory_bytes",
          "gauge",
          "Memory of the process.",
          process.memoryUsage().rss,
        ),
        ...latency.lines(),
        ...batchTexts.lines(),
        ...batchTokens.lines(),
        ...batchSeconds.lines(),
        "",
      ].join("\n"),
  };
}
