// Reads a SentencePiece tokenizer.model (protocol buffers; fields as numbered in sentencepiece_model.proto). Pure.

import { shortJson } from "../../../config/parsed_json.ts";
import { BinaryReader } from "@bufbuild/protobuf/wire";
import { messageOf } from "../../files/errors.ts";
import { charsmapOf } from "./charsmap.ts";

/** ModelProto.SentencePiece.Type */
export const PIECE_TYPE = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

/** TrainerSpec.ModelType */
const MODEL_TYPES = ["", "UNIGRAM", "BPE", "WORD", "CHAR"];

/** Llama's file is half a megabyte and its longest piece 16 characters; more than this is no tokenizer. */
const MAX_BYTES = 64 * 2 ** 20;
const MAX_PIECE_CHARACTERS = 256;

export interface Piece {
  readonly text: string;
  /** BPE: higher is merged earlier. Unigram: its log-probability. */
  readonly score: number;
  readonly type: number;
}

/** What decides how a text is split; a piece's index is its id. */
export interface SentencePieceModel {
  readonly algorithm: "BPE" | "UNIGRAM";
  readonly pieces: readonly Piece[];
  /** Whether characters that are no piece become the pieces of their bytes. */
  readonly byteFallback: boolean;
  /** A table of replacements (see charsmap.ts); empty where a text is taken as it is. */
  readonly charsmap: Uint8Array;
  /** Whether a space is put before the text. */
  readonly addDummyPrefix: boolean;
  /** Whether spaces at both ends, and all but one of several, are dropped. */
  readonly removeExtraWhitespaces: boolean;
  /** Ids of the pieces that begin and end a text; below 0 where there is none. */
  readonly bosId: number;
  readonly eosId: number;
}

/** Every setting that is read, with the default of sentencepiece_model.proto. */
const DEFAULTS = {
  pieces: [] as Piece[],
  modelType: 1,
  byteFallback: false,
  whitespaceAsSuffix: false,
  charsmap: new Uint8Array(0) as Uint8Array,
  addDummyPrefix: true,
  removeExtraWhitespaces: true,
  escapeWhitespaces: true,
  bosId: 1,
  eosId: 2,
};

type Settings = typeof DEFAULTS;

/** What to do with a field, by its number. */
type Fields = Record<number, (reader: BinaryReader) => void>;

function readMessage(reader: BinaryReader, end: number, fields: Fields): void {
  while (reader.pos < end) {
    const [number, wireType] = reader.tag();
    if (fields[number] === undefined) reader.skip(wireType, number);
    else fields[number](reader);
  }
  if (reader.pos !== end) throw new RangeError("a field is longer than the message that holds it");
}

function readPart(reader: BinaryReader, fields: Fields): void {
  const length = reader.uint32();
  const end = reader.pos + length;
  if (end > reader.len) throw new RangeError("a part is longer than the file");
  readMessage(reader, end, fields);
}

function readPiece(reader: BinaryReader): Piece {
  const piece = { text: "", score: 0, type: PIECE_TYPE.normal as number };
  readPart(reader, {
    1: (field) => piece.text = field.string(true),
    2: (field) => piece.score = field.float(),
    3: (field) => piece.type = field.int32(),
  });
  return piece;
}

function readSettings(bytes: Uint8Array): Settings {
  const settings = { ...DEFAULTS, pieces: [] as Piece[] };
  const reader = new BinaryReader(bytes);
  const missing = new Set(["trainer_spec", "normalizer_spec"]);
  const part = (name: string, fields: Fields) => () => {
    missing.delete(name);
    readPart(reader, fields);
  };
  readMessage(reader, reader.len, {
    1: () => settings.pieces.push(readPiece(reader)),
    2: part("trainer_spec", {
      3: (field) => settings.modelType = field.int32(),
      24: (field) => settings.whitespaceAsSuffix = field.bool(),
      35: (field) => settings.byteFallback = field.bool(),
      41: (field) => settings.bosId = field.int32(),
      42: (field) => settings.eosId = field.int32(),
    }),
    3: part("normalizer_spec", {
      2: (field) => settings.charsmap = field.bytes(),
      3: (field) => settings.addDummyPrefix = field.bool(),
      4: (field) => settings.removeExtraWhitespaces = field.bool(),
      5: (field) => settings.escapeWhitespaces = field.bool(),
    }),
  });
  if (settings.pieces.length > 0 && missing.size > 0) {
    throw new RangeError(`it has no ${[...missing].join(" and no ")}`);
  }
  if (settings.charsmap.length > 0) charsmapOf(settings.charsmap); // says what is wrong with it
  return settings;
}

/** What keeps the model from being followed exactly; undefined when nothing does. */
function unsupported({ modelType, escapeWhitespaces, whitespaceAsSuffix }: Settings): string | undefined {
  const algorithm = MODEL_TYPES[modelType] ?? `${modelType}`;
  if (algorithm !== "BPE" && algorithm !== "UNIGRAM") {
    return `a model of type BPE or UNIGRAM; got type ${algorithm}`;
  }
  if (!escapeWhitespaces) return "escape_whitespaces, spaces written as U+2581";
  if (whitespaceAsSuffix) return "spaces in front of words; this model puts them behind";
  return undefined;
}

export function byteToken(byte: number): string {
  return `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`;
}

/** What is wrong with the vocabulary; undefined when nothing is. */
function faultyPieces({ pieces, byteFallback }: Settings): string | undefined {
  const seen = new Set<string>();
  for (const [id, { text, score }] of pieces.entries()) {
    const characters = Array.from(text).length;
    if (characters === 0 || characters > MAX_PIECE_CHARACTERS) {
      return `pieces of 1 to ${MAX_PIECE_CHARACTERS} characters; piece ${id} has ${characters}`;
    }
    if (seen.has(text)) return `every piece once; ${shortJson(text)} is there twice`;
    if (!Number.isFinite(score)) return `a number as score of every piece; piece ${id} has score ${score}`;
    seen.add(text);
  }
  const ofType = (wanted: number) => pieces.filter(({ type }) => type === wanted).map(({ text }) => text);
  const unknown = ofType(PIECE_TYPE.unknown).length;
  if (unknown !== 1) return `one piece for unknown characters; it has ${unknown}`;
  const bytes = new Set(ofType(PIECE_TYPE.byte));
  for (let byte = 0; byteFallback && byte < 256; byte++) {
    if (!bytes.has(byteToken(byte))) return `a piece for each byte; ${byteToken(byte)} is missing`;
  }
  return undefined;
}

/**
 * @param path named in errors
 * @throws Error when the file is no SentencePiece model, is cut off, or asks for what is not followed exactly here
 */
export function parseSentencePieceModel(bytes: Uint8Array, path: string): SentencePieceModel {
  const fail = (problem: string, remedy: string, cause?: unknown) =>
    new Error(`Cannot load the tokenizer: '${path}' ${problem}; ${remedy}`, { cause });
  const convert = "convert it with transformers (tokenizer.save_pretrained() writes a tokenizer.json)";
  if (bytes.length > MAX_BYTES) {
    throw fail(`has ${bytes.length} bytes, at most ${MAX_BYTES} are read`, "is it a tokenizer?");
  }
  let settings: Settings;
  try {
    settings = readSettings(bytes);
  } catch (cause) {
    const problem = messageOf(cause);
    throw fail(`is no whole SentencePiece model: ${problem}`, "copy the file again", cause);
  }
  if (settings.pieces.length === 0) {
    throw fail("is no SentencePiece model: it holds no pieces", "copy the file again");
  }
  const required = unsupported(settings) ?? faultyPieces(settings);
  if (required !== undefined) throw fail(`is required to have ${required}`, convert);
  const algorithm = MODEL_TYPES[settings.modelType] as SentencePieceModel["algorithm"];
  return { ...settings, algorithm };
}
