/** A picture of pixels that is drawn on and written as PNG (ISO/IEC 15948): 8-bit RGB, no filter. */
import { deflateSync } from "node:zlib";
import { crc32 } from "./crc.ts";
import { joinedBytes } from "./joined_bytes.ts";

export type Color = readonly [red: number, green: number, blue: number];

const SIGNATURE = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);
/** 8 bits a channel, RGB, and the only compression, filter and order that most readers know. */
const FORMAT = [8, 2, 0, 0, 0];

/** Columns of 5x7 letters from " " to "~", five to a letter, two hex digits a column, the lowest bit on top. */
const LETTERS = "0000000000" + "00005f0000" + "0007000700" + "147f147f14" + "242a7f2a12" + "2313086462" +
  "3649562050" + "0008070300" + "001c224100" + "0041221c00" + "2a1c7f1c2a" + "08083e0808" + "0080703000" +
  "0808080808" + "0000606000" + "2010080402" + "3e5149453e" + "00427f4000" + "7249494946" + "2141494d33" +
  "1814127f10" + "2745454539" + "3c4a494931" + "4121110907" + "3649494936" + "464949291e" + "0000140000" +
  "0040340000" + "0008142241" + "1414141414" + "0041221408" + "0201590906" + "3e415d594e" + "7c1211127c" +
  "7f49494936" + "3e41414122" + "7f4141413e" + "7f49494941" + "7f09090901" + "3e41415173" + "7f0808087f" +
  "00417f4100" + "2040413f01" + "7f08142241" + "7f40404040" + "7f021c027f" + "7f0408107f" + "3e4141413e" +
  "7f09090906" + "3e4151215e" + "7f09192946" + "2649494932" + "03017f0103" + "3f4040403f" + "1f2040201f" +
  "3f4038403f" + "6314081463" + "0304780403" + "6159494d43" + "007f414141" + "0204081020" + "004141417f" +
  "0402010204" + "4040404040" + "0003070800" + "2054547840" + "7f28444438" + "3844444428" + "384444287f" +
  "3854545418" + "00087e0902" + "18a4a49c78" + "7f08040478" + "00447d4000" + "2040403d00" + "7f10284400" +
  "00417f4000" + "7c04780478" + "7c08040478" + "3844444438" + "fc18242418" + "18242418fc" + "7c08040408" +
  "4854545424" + "04043f4424" + "3c4040207c" + "1c2040201c" + "3c4030403c" + "4428102844" + "4c9090907c" +
  "4464544c44" + "0008364100" + "0000770000" + "0041360800" + "0201020402";
const LETTER_COLUMNS = 5;
const ADVANCE = 6;

/** Pixels of a text's width. @param scale pixels of one of the letters' dots */
export const textWidth = (text: string, scale: number): number =>
  Math.max(0, [...text].length * ADVANCE - 1) * scale;

/** A white picture. */
export class Picture {
  readonly width: number;
  readonly height: number;
  readonly #pixels: Uint8Array;

  constructor(width: number, height: number) {
    this.width = width;
    this.height = height;
    this.#pixels = new Uint8Array(width * height * 3).fill(255);
  }

  /** Mixes a colour into a pixel; one beside the picture is left out. @param share of the new colour, 0 to 1 */
  blend(x: number, y: number, color: Color, share = 1): void {
    if (x < 0 || y < 0 || x >= this.width || y >= this.height) return;
    const at = (y * this.width + x) * 3;
    for (let i = 0; i < 3; i++) {
      this.#pixels[at + i] = Math.round(this.#pixels[at + i] * (1 - share) + color[i] * share);
    }
  }

  fill(x: number, y: number, width: number, height: number, color: Color): void {
    for (let row = y; row < y + height; row++) {
      for (let column = x; column < x + width; column++) this.blend(column, row, color);
    }
  }

  /** A disc around a point between pixels, its edge smooth. */
  disc(x: number, y: number, radius: number, color: Color, share: number): void {
    for (let row = Math.floor(y - radius); row <= y + radius + 1; row++) {
      for (let column = Math.floor(x - radius); column <= x + radius + 1; column++) {
        const inside = radius + 0.5 - Math.hypot(column - x, row - y);
        if (inside > 0) this.blend(column, row, color, share * Math.min(1, inside));
      }
    }
  }

  /**
   * A text; what is no ASCII letter is drawn as "?".
   * @param x left end, or bottom end where it is turned to read upwards
   */
  text(
    text: string,
    x: number,
    y: number,
    { scale, color, isTurned = false }: { scale: number; color: Color; isTurned?: boolean },
  ): void {
    [...text].forEach((letter, place) => {
      const code = letter.codePointAt(0)!;
      const index = code >= 0x20 && code < 0x7f ? code - 0x20 : 0x1f;
      for (let column = 0; column < LETTER_COLUMNS; column++) {
        const at = (index * LETTER_COLUMNS + column) * 2;
        const bits = Number.parseInt(LETTERS.slice(at, at + 2), 16);
        for (let row = 0; row < 8; row++) {
          if (!(bits >> row & 1)) continue;
          const along = (place * ADVANCE + column) * scale;
          const [left, top] = isTurned ? [x + row * scale, y - along - scale] : [x + along, y + row * scale];
          this.fill(left, top, scale, scale, color);
        }
      }
    });
  }

  /** The file's bytes. */
  encode(): Uint8Array<ArrayBuffer> {
    const rowBytes = this.width * 3;
    const raw = new Uint8Array((rowBytes + 1) * this.height);
    for (let row = 0; row < this.height; row++) {
      // The byte before each row says which filter it went through: none.
      raw.set(this.#pixels.subarray(row * rowBytes, (row + 1) * rowBytes), row * (rowBytes + 1) + 1);
    }
    const header = new Uint8Array(8 + FORMAT.length);
    new DataView(header.buffer).setUint32(0, this.width);
    new DataView(header.buffer).setUint32(4, this.height);
    header.set(FORMAT, 8);
    return joinedBytes([
      SIGNATURE,
      chunk("IHDR", header),
      chunk("IDAT", deflateSync(raw, { level: 9 })),
      chunk("IEND", new Uint8Array()),
    ]);
  }
}

/** Length, name, content, and the checksum of the latter two. */
function chunk(name: string, content: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(12 + content.byteLength);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, content.byteLength);
  bytes.set(new TextEncoder().encode(name), 4);
  bytes.set(content, 8);
  view.setUint32(8 + content.byteLength, crc32(bytes.subarray(4, 8 + content.byteLength)));
  return bytes;
}
