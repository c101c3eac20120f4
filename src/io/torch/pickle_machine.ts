// The stack machine that a pickle is a program for: operands, stack, marks and memo, each with a limit.
// What opcodes do with it is in pickle_reader.ts.

import { opcodeName } from "./pickle_opcodes.ts";
import {
  describe,
  type Fail,
  isKind,
  type PickleNames,
  type PickleTuple,
  type PickleValue,
} from "./pickle_values.ts";

/** Longest string, in bytes: a parameter's name is far shorter. */
const MAX_TEXT_BYTES = 2 ** 14;
/** Longest `GLOBAL` line, in bytes. */
const MAX_NAME_BYTES = 256;
/** Values that wait to be used; our own writer lays out all tensors before it sets them. */
const MAX_STACK = 2 ** 19;
const MAX_OPEN_MARKS = 1000;
const MAX_MEMO = 2 ** 18;
/** Tuples, dicts and objects: seven for a tensor, so about 18,000 tensors in one file. */
const MAX_CONTAINERS = 2 ** 17;

const REMEDY = "if you trust the file, convert it in Python: AutoModelForCausalLM.from_pretrained(DIR)" +
  ".save_pretrained(DIR)";
const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Each method throws fail(problem) where the pickle asks for what it may not have. */
export class PickleMachine {
  readonly names: PickleNames;
  private readonly bytes: Uint8Array;
  private readonly view: DataView;
  private readonly path: string;
  private at = 0;
  private opcodeAt = 0;
  private containers = 0;
  private stack: PickleValue[] = [];
  /** Stacks below the open marks, as in Python's own unpickler. */
  private readonly below: PickleValue[][] = [];
  private belowSize = 0;
  private readonly memo = new Map<number, PickleValue>();

  constructor(bytes: Uint8Array, path: string, names: PickleNames) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.path = path;
    this.names = names;
  }

  /** The next opcode; errors until the one after speak of it. */
  next(): number {
    this.opcodeAt = this.at;
    return this.u8();
  }

  /** The one value that is left at the end. */
  result(): PickleValue {
    const result = this.pop();
    if (this.stack.length > 0 || this.below.length > 0) throw this.fail("values are left on the stack");
    if (this.at !== this.bytes.length) throw this.fail(`${this.bytes.length - this.at} bytes follow the end`);
    return result;
  }

  readonly fail: Fail = (problem) => {
    const opcode = this.opcodeAt < this.bytes.length ? opcodeName(this.bytes[this.opcodeAt]) : "the end";
    return new Error(
      `Cannot read '${this.path}': its pickle at byte ${this.opcodeAt}, ${opcode}: ${problem}; ${REMEDY}`,
    );
  };

  // Operands.

  /** Moves over `length` bytes and returns where they began. */
  skip(length: number): number {
    const begin = this.at;
    if (length > this.bytes.length - begin) {
      throw this.fail(`required ${length} more bytes, ${this.bytes.length - begin} are left`);
    }
    this.at += length;
    return begin;
  }

  u8 = (): number => this.view.getUint8(this.skip(1));
  u16 = (): number => this.view.getUint16(this.skip(2), true);
  u32 = (): number => this.view.getUint32(this.skip(4), true);
  i32 = (): number => this.view.getInt32(this.skip(4), true);

  /** Little-endian two's complement of up to 8 bytes that a number holds exactly. */
  integer(byteLength: number): number {
    if (byteLength > 8) throw this.fail(`a whole number of ${byteLength} bytes, at most 8 are allowed`);
    const begin = this.skip(byteLength);
    let value = 0n;
    for (let i = 0; i < byteLength; i++) value |= BigInt(this.bytes[begin + i]) << BigInt(8 * i);
    value = BigInt.asIntN(8 * byteLength, value);
    if (!Number.isSafeInteger(Number(value))) throw this.fail(`${value} is beyond 2^53`);
    return Number(value);
  }

  text(byteLength: number): string {
    if (byteLength > MAX_TEXT_BYTES) {
      throw this.fail(`a string of ${byteLength} bytes, at most ${MAX_TEXT_BYTES} are allowed`);
    }
    const begin = this.skip(byteLength);
    try {
      return UTF8.decode(this.bytes.subarray(begin, begin + byteLength));
    } catch {
      throw this.fail("a string that is no UTF-8");
    }
  }

  /** Text up to the next line feed. */
  line(): string {
    const end = this.bytes.subarray(this.at, this.at + MAX_NAME_BYTES).indexOf(0x0a);
    if (end < 0) throw this.fail(`required a name of less than ${MAX_NAME_BYTES} bytes and a line feed`);
    const line = this.text(end);
    this.skip(1);
    return line;
  }

  requireStart(): void {
    if (this.opcodeAt !== 0) throw this.fail("required at the beginning only");
  }

  // Stack and memo.

  push(value: PickleValue): void {
    if (this.stack.length + this.belowSize >= MAX_STACK) {
      throw this.fail(`more than ${MAX_STACK} values wait`);
    }
    this.stack.push(value);
  }

  pop(): PickleValue {
    const value = this.stack.pop();
    if (value === undefined) throw this.fail("required a value, the stack is empty");
    return value;
  }

  top(): PickleValue {
    const value = this.stack.at(-1);
    if (value === undefined) throw this.fail("required a value, the stack is empty");
    return value;
  }

  mark(): void {
    if (this.below.length >= MAX_OPEN_MARKS) throw this.fail(`more than ${MAX_OPEN_MARKS} marks are open`);
    this.below.push(this.stack);
    this.belowSize += this.stack.length;
    this.stack = [];
  }

  /** What lies above the last mark, in the order it was pushed. */
  popToMark(): PickleValue[] {
    const items = this.stack;
    const below = this.below.pop();
    if (below === undefined) throw this.fail("required an open mark");
    this.stack = below;
    this.belowSize -= below.length;
    return items;
  }

  popTuple(): PickleTuple {
    const value = this.pop();
    if (!isKind(value, "tuple")) throw this.fail(`required a tuple, got ${describe(value)}`);
    return value;
  }

  /** Pushes something that takes memory of its own. */
  pushContainer(value: PickleValue): void {
    if (++this.containers > MAX_CONTAINERS) throw this.fail(`more than ${MAX_CONTAINERS} tuples and dicts`);
    this.push(value);
  }

  pushTuple(length: number): void {
    const items = new Array<PickleValue>(length);
    for (let i = length - 1; i >= 0; i--) items[i] = this.pop();
    this.pushContainer({ kind: "tuple", items });
  }

  pushGlobal(name: string): void {
    if (!this.names.isAllowed(name)) {
      throw this.fail(`it names ${describe(name)}, which is not allowed in a file of weights`);
    }
    this.push({ kind: "global", name });
  }

  setItems(keysAndValues: readonly PickleValue[]): void {
    const dict = this.top();
    if (!isKind(dict, "dict")) throw this.fail(`required a dict, got ${describe(dict)}`);
    if (keysAndValues.length % 2 !== 0) throw this.fail("a key lacks its value");
    for (let i = 0; i < keysAndValues.length; i += 2) {
      const key = keysAndValues[i];
      if (typeof key !== "string") throw this.fail(`required a string as key, got ${describe(key)}`);
      if (dict.entries.has(key)) throw this.fail(`the key ${describe(key)} is set twice`);
      dict.entries.set(key, keysAndValues[i + 1]);
    }
  }

  remember(index = this.memo.size): void {
    this.memo.set(index, this.top());
    if (this.memo.size > MAX_MEMO) throw this.fail(`more than ${MAX_MEMO} values are remembered`);
  }

  recall(index: number): void {
    const value = this.memo.get(index);
    if (value === undefined) throw this.fail(`nothing was remembered as ${index}`);
    this.push(value);
  }
}
