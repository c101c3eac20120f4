// Reads a SentencePiece tokenizer.model (protocol buffers; fields as numbered in sentencepiece_model.proto). Pure.

import { BinaryReader } from "@bufbuild/protobuf/wire";

/** ModelProto.SentencePiece.Type */
export const PIECE_TYPE = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

/** TrainerSpec.ModelType */
const MODEL_TYPES = ["", "UNIGRAM", "BPE", "WORD", "CHAR"];
const BPE = MODEL_TYPES.indexOf("BPE");

/** Llama's file is half a megabyte and its longest piece 16 characters; more than this is no tokenizer. */
const MAX_BYTES = 64 * 2 ** 20;
const MAX_PIECE_CHARACTERS = 256;

export interface Piece {
  readonly text: string;
  /** BPE: higher is merged earlier. */
  readonly score: number;
  readonly type: number;
}

/** A byte-pair model with byte fallback and no normalisation, as the Llama family has; a piece's index is its id. */
export interface SentencePieceModel {
  readonly pieces: readonly Piece[];
  /** Whether a space is put before the text. */
  readonly addDummyPrefix: boolean;
}

/** Every setting that is read, with the default of sentencepiece_model.proto. */
const DEFAULTS = {
  pieces: [] as Piece[],
  modelType: 1,
  byteFallback: false,
  whitespaceAsSuffix: false,
  normalizationBytes: 0,
  addDummyPrefix: true,
  removeExtraWhitespaces: true,
  escapeWhitespaces: true,
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
  readMessage(reader, reader.len, {
    1: () => settings.pieces.push(readPiece(reader)),
    2: () =>
      readPart(reader, {
        3: (field) => settings.modelType = field.int32(),
        24: (field) => settings.whitespaceAsSuffix = field.bool(),
        35: (field) => settings.byteFallback = field.bool(),
      }),
    3: () =>
      readPart(reader, {
        2: (field) => settings.normalizationBytes = field.bytes().length,
        3: (field) => settings.addDummyPrefix = field.bool(),
        4: (field) => settings.removeExtraWhitespaces = field.bool(),
        5: (field) => settings.escapeWhitespaces = field.bool(),
      }),
  });
  return settings;
}

/** What keeps the model from being converted exactly; undefined when nothing does. */
function unsupported(settings: Settings): string | undefined {
  const { modelType } = settings;
  if (modelType !== BPE) {
    return `a BPE model, as the Llama family has; got type ${MODEL_TYPES[modelType] ?? modelType}`;
  }
  if (!settings.byteFallback) return "byte_fallback; without it unknown characters would be lost";
  if (settings.normalizationBytes > 0) return "the identity normalization; got a table of replacements";
  if (settings.removeExtraWhitespaces) return "remove_extra_whitespaces false; this model drops spaces";
  if (!settings.escapeWhitespaces) return "escape_whitespaces, spaces written as U+2581";
  if (settings.whitespaceAsSuffix) return "spaces in front of words; this model puts them behind";
  return undefined;
}

export function byteToken(byte: number): string {
  return `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`;
}

/** What is wrong with the vocabulary; undefined when nothing is. */
function faultyPieces(pieces: readonly Piece[]): string | undefined {
  const seen = new Set<string>();
  let lastScore = Infinity;
  for (const [id, { text, score, type }] of pieces.entries()) {
    const characters = Array.from(text).length;
    if (characters === 0 || characters > MAX_PIECE_CHARACTERS) {
      return `pieces of 1 to ${MAX_PIECE_CHARACTERS} characters; piece ${id} has ${characters}`;
    }
    if (seen.has(text)) return `every piece once; ${JSON.stringify(text)} is there twice`;
    seen.add(text);
    if (type !== PIECE_TYPE.normal || characters === 1) continue;
    if (!(score <= lastScore)) {
      return `merges in the order of their ids; piece ${id} has score ${score} after ${lastScore}`;
    }
    lastScore = score;
  }
  const bytes = new Set(pieces.filter(({ type }) => type === PIECE_TYPE.byte).map(({ text }) => text));
  for (let byte = 0; byte < 256; byte++) {
    if (!bytes.has(byteToken(byte))) return `a piece for each byte; ${byteToken(byte)} is missing`;
  }
  return undefined;
}

/**
 * @param path named in errors
 * @throws Error when the file is no SentencePiece model, is cut off, or needs what cannot be converted exactly
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
    const problem = cause instanceof Error ? cause.message : String(cause);
    throw fail(`is no whole SentencePiece model: ${problem}`, "copy the file again", cause);
  }
  if (settings.pieces.length === 0) {
    throw fail("is no SentencePiece model: it holds no pieces", "copy the file again");
  }
  const required = unsupported(settings) ?? faultyPieces(settings.pieces);
  if (required !== undefined) throw fail(`is required to have ${required}`, convert);
  return { pieces: settings.pieces, addDummyPrefix: settings.addDummyPrefix };
}
