// A SentencePiece model's table of replacements (precompiled_charsmap of its normalizer_spec). Pure.
//
// Layout, as in normalizer.cc of sentencepiece: the size of a double-array trie in bytes (u32), the trie (u32 units, as
// in Darts-clone), then the replacements, each ended by a zero byte. A leaf's value is its replacement's place.

/** What a table makes of the beginning of a text. */
export interface Replaced {
  readonly text: string;
  /** Bytes of the text that it stands for; 0 where the table has nothing for it. */
  readonly bytes: number;
}

const NOTHING: Replaced = { text: "", bytes: 0 };

const hasLeaf = (unit: number) => ((unit >>> 8) & 1) === 1;
const labelOf = (unit: number) => (unit & 0x800000ff) >>> 0;
const offsetOf = (unit: number) => (unit >>> 10) << ((unit & 0x200) >>> 6);

/**
 * The table as a function: the longest beginning of bytes[at...] that it replaces.
 * @throws RangeError when the table is cut off
 */
export function charsmapOf(blob: Uint8Array): (bytes: Uint8Array, at: number) => Replaced {
  const view = new DataView(blob.buffer, blob.byteOffset, blob.byteLength);
  const trieBytes = blob.length < 4 ? 0 : view.getUint32(0, true);
  if (trieBytes === 0 || trieBytes % 4 !== 0 || 4 + trieBytes >= blob.length) {
    throw new RangeError("its table of replacements is cut off");
  }
  const units = Uint32Array.from({ length: trieBytes / 4 }, (_, i) => view.getUint32(4 + 4 * i, true));
  const replacements = blob.subarray(4 + trieBytes);
  const decoder = new TextDecoder();
  const replacementAt = (place: number) => {
    const end = replacements.indexOf(0, place);
    return decoder.decode(replacements.subarray(place, end < 0 ? replacements.length : end));
  };
  return (bytes, at) => {
    let longest = NOTHING;
    let node = offsetOf(units[0]);
    for (let i = at; i < bytes.length; i++) {
      node ^= bytes[i];
      const unit = units[node];
      if (unit === undefined || labelOf(unit) !== bytes[i]) break;
      node ^= offsetOf(unit);
      if (hasLeaf(unit)) longest = { text: replacementAt(units[node] & 0x7fffffff), bytes: i + 1 - at };
    }
    return longest;
  };
}
