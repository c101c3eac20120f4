/**
 * W&B's records as protobuf bytes. Field numbers come from wandb/proto/wandb_internal.proto; the ones written here
 * have been the same from 0.12 to 0.31.
 */
import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { extendedJson } from "./extended_json.ts";

/** Plain data, written as extended JSON. */
export type Values = Readonly<Record<string, unknown>>;

/** What one record says. */
export type RecordContent =
  | { kind: "header" }
  | { kind: "run"; run: RunDescription }
  | { kind: "history"; step: number; values: Values }
  | { kind: "summary"; values: Values }
  | { kind: "config"; path: readonly string[]; value: unknown }
  | { kind: "file"; path: string }
  | { kind: "system"; atSeconds: number; values: Values }
  | { kind: "exit"; code: number; runtimeSeconds: number };

/** How W&B knows a run. */
export interface RunDescription {
  id: string;
  /** Empty: the owner of the key that uploads it. */
  entity: string;
  project: string;
  displayName: string;
  group: string;
  tags: readonly string[];
  host: string;
  /** Seconds since 1970. */
  startSeconds: number;
  config: Values;
}

const RECORD = {
  num: 1,
  history: 2,
  summary: 3,
  config: 5,
  files: 6,
  stats: 7,
  run: 17,
  exit: 18,
  header: 21,
};
const RUN = {
  id: 1,
  entity: 2,
  project: 3,
  config: 4,
  group: 6,
  displayName: 8,
  tags: 10,
  host: 13,
  startTime: 17,
};
/** Of history, summary and config alike. */
const ITEM = { key: 1, nestedKey: 2, valueJson: 16 };
const HISTORY = { item: 1, step: 2 };
const STEP = { num: 1 };
const UPDATE = 1;
const FILES = { files: 1 };
const FILE = { path: 1 };
const STATS = { timestamp: 2, item: 3 };
const TIMESTAMP = { seconds: 1, nanos: 2 };
const EXIT = { code: 1, runtime: 2 };
const HEADER = { versionInfo: 1 };
const VERSION = { producer: 1, minConsumer: 2 };
/** The version of W&B's own client that writes this form, and the oldest that reads it. */
const FORM = { producer: "0.21.4", minConsumer: "0.12.0" };

type Field = (writer: BinaryWriter) => void;

/** One record, the `number`th of its file. */
export function encodeRecord(number: number, content: RecordContent): Uint8Array {
  const record = new BinaryWriter();
  whole(record, RECORD.num, number);
  switch (content.kind) {
    case "header":
      message(record, RECORD.header, (header) =>
        message(header, HEADER.versionInfo, (version) => {
          text(version, VERSION.producer, FORM.producer);
          text(version, VERSION.minConsumer, FORM.minConsumer);
        }));
      break;
    case "run":
      message(record, RECORD.run, runFields(content.run));
      break;
    case "history":
      message(record, RECORD.history, (history) => {
        items(history, HISTORY.item, content.values);
        message(history, HISTORY.step, (step) => whole(step, STEP.num, content.step));
      });
      break;
    case "summary":
      message(record, RECORD.summary, (summary) => items(summary, UPDATE, content.values));
      break;
    case "config":
      message(record, RECORD.config, (config) =>
        message(config, UPDATE, (item) => {
          for (const key of content.path) text(item, ITEM.nestedKey, key);
          text(item, ITEM.valueJson, extendedJson(content.value));
        }));
      break;
    case "file":
      message(
        record,
        RECORD.files,
        (files) => message(files, FILES.files, (file) => text(file, FILE.path, content.path)),
      );
      break;
    case "system":
      message(record, RECORD.stats, (stats) => {
        message(stats, STATS.timestamp, timestamp(content.atSeconds));
        items(stats, STATS.item, content.values);
      });
      break;
    case "exit":
      message(record, RECORD.exit, (exit) => {
        whole(exit, EXIT.code, content.code);
        whole(exit, EXIT.runtime, Math.round(content.runtimeSeconds));
      });
      break;
  }
  return record.finish();
}

/** A record read back. Of what other programs may have written only these kinds are told apart. */
export interface ReadRecord {
  number: number;
  kind: RecordContent["kind"] | "other";
  /** Of history: the row's step. */
  step: number;
  /** Of history, summary, config and system metrics: path of a key, and its value as JSON. */
  items: readonly (readonly [path: readonly string[], json: string])[];
  /** Of a file: its path in the run's files. */
  path: string;
  /** Of the exit: the process's code. */
  code: number;
  /** Of system metrics: seconds since 1970. */
  atSeconds: number;
}

type Filling = { -readonly [key in keyof ReadRecord]: ReadRecord[key] } & { items: [string[], string][] };

/** How each kind is filled in from its message. */
const READERS: Readonly<Record<number, (record: Filling, message: Uint8Array) => void>> = {
  [RECORD.header]: (record) => record.kind = "header",
  [RECORD.run]: (record) => record.kind = "run",
  [RECORD.history](record, message) {
    record.kind = "history";
    readItems(record, message, HISTORY.item, (field, reader) => {
      if (field !== HISTORY.step) return false;
      eachField(
        reader.bytes(),
        (inner, step) => inner === STEP.num && (record.step = Number(step.int64()), true),
      );
      return true;
    });
  },
  [RECORD.summary](record, message) {
    record.kind = "summary";
    readItems(record, message, UPDATE);
  },
  [RECORD.config](record, message) {
    record.kind = "config";
    readItems(record, message, UPDATE);
  },
  [RECORD.files](record, message) {
    record.kind = "file";
    eachField(message, (field, reader) => {
      if (field !== FILES.files) return false;
      eachField(reader.bytes(), (inner, file) => inner === FILE.path && (record.path = file.string(), true));
      return true;
    });
  },
  [RECORD.stats](record, message) {
    record.kind = "system";
    readItems(record, message, STATS.item, (field, reader) => {
      if (field !== STATS.timestamp) return false;
      eachField(reader.bytes(), (inner, time) => {
        if (inner === TIMESTAMP.seconds) record.atSeconds += Number(time.int64());
        else if (inner === TIMESTAMP.nanos) record.atSeconds += time.int32() / 1e9;
        else return false;
        return true;
      });
      return true;
    });
  },
  [RECORD.exit](record, message) {
    record.kind = "exit";
    eachField(message, (field, reader) => field === EXIT.code && (record.code = reader.int32(), true));
  },
};

/** @throws Error when the bytes are no protobuf */
export function readRecord(payload: Uint8Array): ReadRecord {
  const record: Filling = { number: 0, kind: "other", step: 0, items: [], path: "", code: 0, atSeconds: 0 };
  eachField(payload, (field, reader) => {
    if (field === RECORD.num) record.number = Number(reader.int64());
    else if (READERS[field]) READERS[field](record, reader.bytes());
    else return false;
    return true;
  });
  return record;
}

function readItems(
  record: Filling,
  message: Uint8Array,
  itemField: number,
  readOther: (field: number, reader: BinaryReader) => boolean = () => false,
): void {
  eachField(message, (field, reader) => {
    if (field !== itemField) return readOther(field, reader);
    const path: string[] = [];
    let json = "null";
    eachField(reader.bytes(), (inner, item) => {
      if (inner === ITEM.key || inner === ITEM.nestedKey) path.push(item.string());
      else if (inner === ITEM.valueJson) json = item.string();
      else return false;
      return true;
    });
    record.items.push([path, json]);
    return true;
  });
}

/** @param read returns whether it has read the field */
function eachField(bytes: Uint8Array, read: (field: number, reader: BinaryReader) => boolean): void {
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (!read(field, reader)) reader.skip(type, field);
  }
}

function runFields(run: RunDescription): Field {
  return (writer) => {
    text(writer, RUN.id, run.id);
    text(writer, RUN.entity, run.entity);
    text(writer, RUN.project, run.project);
    message(writer, RUN.config, (config) => items(config, UPDATE, run.config));
    text(writer, RUN.group, run.group);
    text(writer, RUN.displayName, run.displayName);
    for (const tag of run.tags) text(writer, RUN.tags, tag);
    text(writer, RUN.host, run.host);
    message(writer, RUN.startTime, timestamp(run.startSeconds));
  };
}

function items(writer: BinaryWriter, field: number, values: Values): void {
  for (const [key, value] of Object.entries(values)) {
    message(writer, field, (item) => {
      text(item, ITEM.key, key);
      text(item, ITEM.valueJson, extendedJson(value));
    });
  }
}

function timestamp(atSeconds: number): Field {
  return (writer) => {
    const seconds = Math.floor(atSeconds);
    whole(writer, TIMESTAMP.seconds, seconds);
    whole(writer, TIMESTAMP.nanos, Math.floor((atSeconds - seconds) * 1e9));
  };
}

/** As protobuf has it, what is not written is 0. */
function whole(writer: BinaryWriter, field: number, value: number): void {
  if (value !== 0) writer.tag(field, WireType.Varint).int64(value);
}

function text(writer: BinaryWriter, field: number, value: string): void {
  if (value !== "") writer.tag(field, WireType.LengthDelimited).string(value.toWellFormed());
}

function message(writer: BinaryWriter, field: number, write: Field): void {
  writer.tag(field, WireType.LengthDelimited).fork();
  write(writer);
  writer.join();
}
