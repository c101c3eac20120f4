// numpy's files of one list (NEP 1, version 1.0), as np.save writes them and np.load reads them.

const MAGIC = "\x93NUMPY\x01\x00";
/** The data begin at a multiple of this. */
const ALIGNMENT = 64;

/** float64. */
export function npyOfNumbers(values: readonly number[]): Uint8Array {
  const data = new Uint8Array(values.length * 8);
  const view = new DataView(data.buffer);
  values.forEach((value, i) => view.setFloat64(i * 8, value, true));
  return file("<f8", values.length, data);
}

/** Unicode text of UCS-4, each as wide as the longest, which has at least one character in numpy. */
export function npyOfTexts(texts: readonly string[]): Uint8Array {
  const letters = texts.map((text) => Array.from(text, (letter) => letter.codePointAt(0)!));
  const width = letters.reduce((most, { length }) => Math.max(most, length), 1);
  const data = new Uint8Array(texts.length * width * 4);
  const view = new DataView(data.buffer);
  letters.forEach((codes, i) => codes.forEach((code, j) => view.setUint32((i * width + j) * 4, code, true)));
  return file(`<U${width}`, texts.length, data);
}

function file(descr: string, count: number, data: Uint8Array): Uint8Array {
  const described = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${count},), }`;
  const length = Math.ceil((MAGIC.length + 2 + described.length + 1) / ALIGNMENT) * ALIGNMENT;
  const bytes = new Uint8Array(length + data.length).fill(0x20, 0, length);
  const write = (text: string, at: number) => {
    for (let i = 0; i < text.length; i++) bytes[at + i] = text.charCodeAt(i);
  };
  write(MAGIC, 0);
  new DataView(bytes.buffer).setUint16(MAGIC.length, length - MAGIC.length - 2, true);
  write(described, MAGIC.length + 2);
  bytes[length - 1] = 0x0a;
  bytes.set(data, length);
  return bytes;
}
