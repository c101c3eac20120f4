/** Checksums of record files: CRC-32C for TensorBoard's (RFC 3720, appendix B.4), CRC-32 for W&B's (ISO 3309). */

/** CRC of the bytes by a reversed polynomial, as an unsigned 32-bit number. */
function crcOf(polynomial: number): (...parts: Uint8Array[]) => number {
  const table = Uint32Array.from({ length: 256 }, (_, byte) => {
    let remainder = byte;
    for (let bit = 0; bit < 8; bit++) remainder = (remainder >>> 1) ^ (remainder & 1 ? polynomial : 0);
    return remainder;
  });
  return (...parts) => {
    let crc = 0xffffffff;
    for (const bytes of parts) {
      for (const byte of bytes) crc = table[(crc ^ byte) & 0xff] ^ (crc >>> 8);
    }
    return ~crc >>> 0;
  };
}

/** CRC-32C (Castagnoli) of the bytes of all parts, one after the other. */
export const crc32c = crcOf(0x82f63b78);

/** CRC-32 (IEEE, as in zip) of the bytes of all parts, one after the other. */
export const crc32 = crcOf(0xedb88320);

/**
 * The checksum in the masked form in which TFRecord stores it, rotr(crc, 15) + 0xa282ead8:
 * the CRC of bytes that themselves hold a CRC would be weak.
 */
export function maskedCrc32c(bytes: Uint8Array): number {
  const crc = crc32c(bytes);
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}
