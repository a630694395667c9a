// Memory for results. It is not zeroed first, because every byte of it is written before anybody sees it.

/** Memory of its own, never a slice of the shared pool, with old contents. */
export function allocate(length: number): Uint8Array<ArrayBuffer> {
  const buffer = Buffer.allocUnsafeSlow(length);
  return new Uint8Array(buffer.buffer, buffer.byteOffset, length);
}
