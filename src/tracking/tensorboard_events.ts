/**
 * TensorBoard's wire format: an Event protobuf for what happened, a TFRecord frame around its bytes.
 *
 * Scalars and histograms take the form that PyTorch's SummaryWriter gives them (`simple_value`, `histo`),
 * which every reader of event files knows. Field numbers come from TensorFlow's event.proto, summary.proto,
 * histogram.proto, tensor.proto and tensor_shape.proto.
 */
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { maskedCrc32c } from "./crc.ts";
import { histogramBuckets } from "./statistics.ts";

/** What one record says. */
export type EventContent =
  | { kind: "fileVersion" }
  | { kind: "sessionStart" }
  | { kind: "scalars"; values: readonly (readonly [tag: string, value: number])[] }
  | { kind: "histogram"; tag: string; values: readonly number[]; bucketCount?: number }
  | { kind: "text"; tag: string; markdown: string }
  | ({ kind: "image"; tag: string } & Image);

/** A PNG file and its size, pixels. */
export interface Image {
  png: Uint8Array;
  width: number;
  height: number;
}

const EVENT = { wallTime: 1, step: 2, fileVersion: 3, summary: 5, sessionLog: 7 };
const SESSION_LOG = { status: 1 };
const SUMMARY = { value: 1 };
const VALUE = { tag: 1, simpleValue: 2, image: 4, histogram: 5, tensor: 8, metadata: 9 };
const HISTOGRAM = { min: 1, max: 2, count: 3, sum: 4, sumSquares: 5, bucketLimits: 6, bucketCounts: 7 };
const IMAGE = { height: 1, width: 2, colorspace: 3, encoded: 4 };
const METADATA = { pluginData: 1 };
const PLUGIN_DATA = { pluginName: 1 };
const TENSOR = { dtype: 1, shape: 2, stringValues: 8 };
const SHAPE = { dimension: 2 };
const DIMENSION = { size: 1 };

const SESSION_START = 1;
const DTYPE_STRING = 7;
const COLORSPACE_RGB = 3;

type Field = (writer: BinaryWriter) => unknown;

/**
 * One Event as protobuf bytes.
 *
 * @param wallTimeSeconds seconds since 1970
 * @param step optimizer step. For `sessionStart` the first step that this file writes anew: a reader forgets
 *   all that it read about this and later steps from older files
 */
export function encodeEvent(
  content: EventContent,
  step: number,
  wallTimeSeconds: number,
): Uint8Array<ArrayBuffer> {
  const event = new BinaryWriter();
  event.tag(EVENT.wallTime, WireType.Bit64).double(wallTimeSeconds);
  if (step !== 0) event.tag(EVENT.step, WireType.Varint).int64(step);
  writeContent(event, content);
  return event.finish();
}

/**
 * The bytes framed as one TFRecord: u64 length, its masked crc32c, the bytes, their masked crc32c;
 * little-endian.
 */
export function frameRecord(payload: Uint8Array): Uint8Array<ArrayBuffer> {
  const record = new Uint8Array(12 + payload.length + 4);
  const view = new DataView(record.buffer);
  view.setBigUint64(0, BigInt(payload.length), true);
  view.setUint32(8, maskedCrc32c(record.subarray(0, 8)), true);
  record.set(payload, 12);
  view.setUint32(12 + payload.length, maskedCrc32c(payload), true);
  return record;
}

function writeContent(event: BinaryWriter, content: EventContent): void {
  switch (content.kind) {
    case "fileVersion":
      event.tag(EVENT.fileVersion, WireType.LengthDelimited).string("brain.Event:2");
      return;
    case "sessionStart":
      message(
        event,
        EVENT.sessionLog,
        (log) => log.tag(SESSION_LOG.status, WireType.Varint).int32(SESSION_START),
      );
      return;
    case "scalars":
      message(event, EVENT.summary, (summary) => {
        for (const [tag, value] of content.values) {
          summaryValue(summary, tag, (field) => field.tag(VALUE.simpleValue, WireType.Bit32).float(value));
        }
      });
      return;
    case "histogram":
      message(event, EVENT.summary, (summary) => {
        summaryValue(
          summary,
          content.tag,
          (value) => message(value, VALUE.histogram, histogram(content)),
        );
      });
      return;
    case "text":
      message(
        event,
        EVENT.summary,
        (summary) => summaryValue(summary, content.tag, textValue(content.markdown)),
      );
      return;
    case "image":
      message(event, EVENT.summary, (summary) => {
        summaryValue(summary, content.tag, (value) => message(value, VALUE.image, image(content)));
      });
      return;
  }
}

function summaryValue(summary: BinaryWriter, tag: string, write: Field): void {
  message(summary, SUMMARY.value, (value) => {
    value.tag(VALUE.tag, WireType.LengthDelimited).string(tag);
    write(value);
  });
}

/**
 * Bucket i holds the values from the right edge of bucket i - 1 (from the minimum, for the first) to its own.
 */
function histogram({ values, bucketCount }: { values: readonly number[]; bucketCount?: number }): Field {
  const finite = values.filter(Number.isFinite);
  const buckets = histogramBuckets(finite, bucketCount);
  const sumOf = (numbers: readonly number[]) => numbers.reduce((sum, value) => sum + value, 0);
  return (writer) => {
    writer.tag(HISTOGRAM.min, WireType.Bit64).double(buckets[0]?.left ?? 0);
    writer.tag(HISTOGRAM.max, WireType.Bit64).double(buckets.at(-1)?.right ?? 0);
    writer.tag(HISTOGRAM.count, WireType.Bit64).double(finite.length);
    writer.tag(HISTOGRAM.sum, WireType.Bit64).double(sumOf(finite));
    writer.tag(HISTOGRAM.sumSquares, WireType.Bit64).double(sumOf(finite.map((value) => value * value)));
    packedDoubles(writer, HISTOGRAM.bucketLimits, buckets.map((bucket) => bucket.right));
    packedDoubles(writer, HISTOGRAM.bucketCounts, buckets.map((bucket) => bucket.count));
  };
}

function image({ png, width, height }: Image): Field {
  return (writer) => {
    writer.tag(IMAGE.height, WireType.Varint).int32(height);
    writer.tag(IMAGE.width, WireType.Varint).int32(width);
    writer.tag(IMAGE.colorspace, WireType.Varint).int32(COLORSPACE_RGB);
    writer.tag(IMAGE.encoded, WireType.LengthDelimited).bytes(png);
  };
}

/** A string tensor of shape [1] for the text plugin. */
function textValue(markdown: string): Field {
  return (value) => {
    message(value, VALUE.tensor, (tensor) => {
      tensor.tag(TENSOR.dtype, WireType.Varint).int32(DTYPE_STRING);
      message(tensor, TENSOR.shape, (shape) => {
        message(
          shape,
          SHAPE.dimension,
          (dimension) => dimension.tag(DIMENSION.size, WireType.Varint).int64(1),
        );
      });
      tensor.tag(TENSOR.stringValues, WireType.LengthDelimited).string(markdown.toWellFormed());
    });
    message(value, VALUE.metadata, (metadata) => {
      message(metadata, METADATA.pluginData, (pluginData) => {
        pluginData.tag(PLUGIN_DATA.pluginName, WireType.LengthDelimited).string("text");
      });
    });
  };
}

function packedDoubles(writer: BinaryWriter, field: number, values: readonly number[]): void {
  message(writer, field, (packed) => values.forEach((value) => packed.double(value)));
}

function message(writer: BinaryWriter, field: number, write: Field): void {
  writer.tag(field, WireType.LengthDelimited).fork();
  write(writer);
  writer.join();
}
