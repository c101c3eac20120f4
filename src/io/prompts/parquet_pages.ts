/**
 * What the pages of a Parquet column claim to hold, looked at before they are decoded: the decoder fills in as many
 * values as a page's header says, however few its bytes are. Headers are Thrift's compact protocol
 * (https://github.com/apache/parquet-format: PageHeader in parquet.thrift).
 */

/** Far more than writers put in a page: a million rows of one value are a page of a few bytes. */
const MOST_VALUES = 2 ** 24;
/** Structs within structs; a page header has three levels. */
const MOST_DEPTH = 16;

const PAGE_HEADER = { compressedSize: 3, dataPage: 5, dictionaryPage: 7, dataPageV2: 8 };
const NUM_VALUES = 1;
const WITH_VALUES: readonly number[] = [
  PAGE_HEADER.dataPage,
  PAGE_HEADER.dictionaryPage,
  PAGE_HEADER.dataPageV2,
];

/** Types of Thrift's compact protocol. */
const TYPE = {
  stop: 0,
  yes: 1,
  no: 2,
  byte: 3,
  i16: 4,
  i32: 5,
  i64: 6,
  double: 7,
  binary: 8,
  list: 9,
  set: 10,
  struct: 12,
};

class ThriftReader {
  readonly #bytes: Uint8Array;
  at: number;

  constructor(bytes: Uint8Array, at: number) {
    this.#bytes = bytes;
    this.at = at;
  }

  byte(): number {
    if (this.at >= this.#bytes.length) throw new RangeError("a page's header ends amid a value");
    return this.#bytes[this.at++];
  }

  /** A number of up to 64 bits; beyond 2^53 it need not be exact. */
  varint(): number {
    let value = 0;
    for (let scale = 1;; scale *= 128) {
      const byte = this.byte();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
      if (scale > 2 ** 63) throw new RangeError("a page's header holds a number of over 64 bits");
    }
  }

  zigzag(): number {
    const value = this.varint();
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  }

  /** The fields of a struct. @param read returns whether it has read the value */
  fields(read: (id: number, type: number) => boolean, depth = 0): void {
    if (depth > MOST_DEPTH) throw new RangeError("a page's header is nested too deeply");
    for (let id = 0;;) {
      const head = this.byte();
      const type = head & 0x0f;
      if (type === TYPE.stop) return;
      id = head >> 4 === 0 ? this.zigzag() : id + (head >> 4);
      if (!read(id, type)) this.#skip(type, depth);
    }
  }

  #skip(type: number, depth: number): void {
    if (type === TYPE.yes || type === TYPE.no) return;
    if (type === TYPE.byte) this.at += 1;
    else if (type === TYPE.double) this.at += 8;
    else if (type === TYPE.i16 || type === TYPE.i32 || type === TYPE.i64) this.varint();
    else if (type === TYPE.binary) this.at += this.varint();
    else if (type === TYPE.struct) this.fields(() => false, depth + 1);
    else if (type === TYPE.list || type === TYPE.set) {
      const head = this.byte();
      const size = head >> 4 === 15 ? this.varint() : head >> 4;
      for (let i = 0; i < size; i++) this.#skip(head & 0x0f, depth + 1);
    } else throw new RangeError(`a page's header holds a value of type ${type}`);
  }
}

/**
 * @param column bytes of a column of one row group
 * @param values that the file's end says are in it
 * @throws RangeError when a page's header is none, or claims more values than that
 */
export function assertPages(column: Uint8Array, values: number): void {
  const most = Math.min(values, MOST_VALUES);
  for (let at = 0; at < column.length - 1;) {
    const reader = new ThriftReader(column, at);
    let size = 0;
    reader.fields((id, type) => {
      if (id === PAGE_HEADER.compressedSize && type === TYPE.i32) {
        size = reader.zigzag();
        return true;
      }
      if (!WITH_VALUES.includes(id) || type !== TYPE.struct) return false;
      reader.fields((inner, innerType) => {
        if (inner !== NUM_VALUES || innerType !== TYPE.i32) return false;
        const claimed = reader.zigzag();
        if (claimed < 0 || claimed > most) {
          throw new RangeError(`a page claims to hold ${claimed} values, of ${values} in its column`);
        }
        return true;
      }, 1);
      return true;
    });
    if (size < 0) throw new RangeError(`a page claims to have ${size} bytes`);
    at = reader.at + size;
  }
}
