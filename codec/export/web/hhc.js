// The plain .hhc file and pasted codes, checked; and codes as such a file, samples as a WAV file.

const MAGIC = [0x89, 0x48, 0x48, 0x43, 0x0d, 0x0a, 0x1a, 0x0a];
const HEADER = 36, BLOCK = 6, TRAILER = 18, CRC = 4, END = 0xffffffff;
const BLOCK_CODES = 512, LOWEST_LEVEL = -120, HIGHEST_LEVEL = 7; // as the toolkit writes

const TABLE = Uint32Array.from({length: 256}, (_, value) => {
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

/** The CRC-32 of zlib. */
function crc32(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = TABLE[(crc ^ byte) & 0xff] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

/** True if the record [start, stop) lies within the bytes and ends in its CRC. */
function isSound(bytes, start, stop) {
  if (stop > bytes.length) return false;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return crc32(bytes.subarray(start, stop - CRC)) === view.getUint32(stop - CRC, true);
}

/** `count` codes of `bits` bits, the lowest bit first. */
function unpacked(bytes, count, bits) {
  const codes = new Uint16Array(count);
  let held = 0, filled = 0, place = 0;
  for (let i = 0; i < count; i++) {
    while (filled < bits) {
      held |= bytes[place++] << filled;
      filled += 8;
    }
    codes[i] = held & ((1 << bits) - 1);
    held >>>= bits;
    filled -= bits;
  }
  return codes;
}

/** Codes to `bits` bits each, the inverse of `unpacked`. */
function packed(codes, bits) {
  const bytes = new Uint8Array(Math.ceil(codes.length * bits / 8));
  let held = 0, filled = 0, place = 0;
  for (const code of codes) {
    held |= code << filled;
    filled += bits;
    while (filled >= 8) {
      bytes[place++] = held & 0xff;
      held >>>= 8;
      filled -= 8;
    }
  }
  if (filled) bytes[place] = held;
  return bytes;
}

/** A record of `size` bytes: filled in by `fill`, its CRC at the end. */
function sealed(size, fill) {
  const bytes = new Uint8Array(size), view = new DataView(bytes.buffer);
  fill(bytes, view);
  view.setUint32(size - CRC, crc32(bytes.subarray(0, size - CRC)), true);
  return bytes;
}

function readHeader(bytes, meta) {
  if (MAGIC.some((byte, i) => bytes[i] !== byte)) {
    throw new Error("no .hhc file: it begins with other bytes");
  }
  const version = bytes[8], level = bytes[9];
  if (version === 3) {
    throw new Error("the file is compressed (version 3): restore it by hh-slm decompress");
  }
  if (version !== 1 && version !== 2) {
    throw new Error(`expected version 1 or 2 of .hhc, got ${version}`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  if (!isSound(bytes, 0, HEADER) || (version === 1) !== (level === 0)) {
    throw new Error("the header is damaged");
  }
  const print = Array.from(bytes.subarray(24, 32), (b) => b.toString(16).padStart(2, "0")).join("");
  if (!meta.code_fingerprints.includes(print)) {
    throw new Error(
      `the codes were made by codec ${print}, this page has ${meta.code_fingerprints[0]}`);
  }
  const sizes = [view.getUint32(12, true), view.getUint32(16, true), view.getUint32(20, true)];
  const wanted = [meta.codebook_size, meta.sample_rate, meta.hop_length];
  if (sizes.some((size, i) => size !== wanted[i])) {
    throw new Error(`expected sizes ${wanted.join(", ")} of the codec, got ${sizes.join(", ")}`);
  }
  return {blockCodes: view.getUint16(10, true), level: level ? -120 + (level - 1) / 2 : null};
}

/**
 * Read a .hhc file of version 1 or 2.
 *
 * @param {Uint8Array} bytes All of it.
 * @param {object} meta Of meta.json.
 * @returns {{codes: Uint16Array, numSamples: number, level: ?number}} level in dBFS.
 * @throws {Error} Naming what is damaged, missing or of another codec.
 */
export function readHhc(bytes, meta) {
  const header = readHeader(bytes, meta);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const bits = 32 - Math.clz32(meta.codebook_size - 1);
  const blocks = [];
  let place = HEADER, total = 0, isLast = false;
  while (place + BLOCK > bytes.length || view.getUint32(place, true) !== END) {
    const damaged = new Error(`block ${blocks.length} is damaged or missing`);
    if (place + BLOCK > bytes.length || isLast) throw damaged;
    const count = view.getUint16(place + 4, true);
    const stop = place + BLOCK + Math.ceil(count * bits / 8) + CRC;
    const isNext = view.getUint32(place, true) === blocks.length;
    if (!isNext || !count || count > header.blockCodes || !isSound(bytes, place, stop)) {
      throw damaged;
    }
    const codes = unpacked(bytes.subarray(place + BLOCK, stop - CRC), count, bits);
    if (codes.some((code) => code >= meta.codebook_size)) throw damaged;
    blocks.push(codes);
    // only the last block may be short
    isLast = count < header.blockCodes;
    place = stop;
    total += count;
  }
  if (place + TRAILER !== bytes.length || !isSound(bytes, place, place + TRAILER)) {
    throw new Error("the end of the file is damaged or missing");
  }
  const numSamples = Number(view.getBigUint64(place + BLOCK, true));
  if (!numSamples || Math.ceil(numSamples / meta.hop_length) !== total) {
    throw new Error(`${total} codes do not fit the ${numSamples} samples that the file states`);
  }
  const codes = new Uint16Array(total);
  let filled = 0;
  for (const block of blocks) {
    codes.set(block, filled);
    filled += block.length;
  }
  return {codes, numSamples, level: header.level};
}

/**
 * Read codes that were written out.
 *
 * @param {string} text Numbers between spaces, commas, semicolons or brackets.
 * @param {object} meta Of meta.json.
 * @returns {{codes: Uint16Array, numSamples: number, level: null}}
 * @throws {Error} Naming what is no code of the codec.
 */
export function readCodes(text, meta) {
  const words = text.split(/[\s,;[\]()]+/).filter(Boolean);
  if (!words.length) throw new Error("expected codes, got no text");
  const wrong = words.find((word) => !/^\d+$/.test(word) || Number(word) >= meta.codebook_size);
  if (wrong !== undefined) {
    throw new Error(`expected codes in 0..${meta.codebook_size - 1}, got ${wrong.slice(0, 20)}`);
  }
  const codes = Uint16Array.from(words, Number);
  return {codes, numSamples: codes.length * meta.hop_length, level: null};
}

/** A level in dBFS as files state it: in halves of a dB. */
export function statedLevel(level) {
  return Math.min(Math.max(Math.round(2 * level) / 2, LOWEST_LEVEL), HIGHEST_LEVEL);
}

/**
 * Write a .hhc file: of version 2, or 1 where no level is stated.
 *
 * @param {{codes: Uint16Array, numSamples: number, level: ?number}} coded As of `readHhc`.
 * @param {object} meta Of meta.json.
 * @returns {Blob}
 */
export function hhcOf({codes, numSamples, level}, meta) {
  const bits = 32 - Math.clz32(meta.codebook_size - 1);
  const records = [sealed(HEADER, (bytes, view) => {
    bytes.set(MAGIC);
    bytes[8] = level === null ? 1 : 2;
    bytes[9] = level === null ? 0 : 1 + 2 * (level - LOWEST_LEVEL);
    view.setUint16(10, BLOCK_CODES, true);
    const sizes = [meta.codebook_size, meta.sample_rate, meta.hop_length];
    sizes.forEach((size, i) => view.setUint32(12 + 4 * i, size, true));
    bytes.set(meta.code_fingerprints[0].match(/../g).map((digits) => parseInt(digits, 16)), 24);
  })];
  for (let start = 0; start < codes.length; start += BLOCK_CODES) {
    const part = codes.subarray(start, start + BLOCK_CODES), payload = packed(part, bits);
    records.push(sealed(BLOCK + payload.length + CRC, (bytes, view) => {
      view.setUint32(0, start / BLOCK_CODES, true);
      view.setUint16(4, part.length, true);
      bytes.set(payload, BLOCK);
    }));
  }
  records.push(sealed(TRAILER, (bytes, view) => {
    view.setUint32(0, END, true);
    view.setBigUint64(BLOCK, BigInt(numSamples), true);
  }));
  return new Blob(records);
}

/** Samples in [-1, 1], limited to it, as a WAV file of one channel and 16 bits. */
export function wavOf(samples, sampleRate) {
  const bytes = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const write = (place, text) => {
    for (let i = 0; i < text.length; i++) bytes.setUint8(place + i, text.charCodeAt(i));
  };
  write(0, "RIFF");
  bytes.setUint32(4, 36 + 2 * samples.length, true);
  write(8, "WAVEfmt ");
  bytes.setUint32(16, 16, true);
  bytes.setUint16(20, 1, true);
  bytes.setUint16(22, 1, true);
  bytes.setUint32(24, sampleRate, true);
  bytes.setUint32(28, 2 * sampleRate, true);
  bytes.setUint16(32, 2, true);
  bytes.setUint16(34, 16, true);
  write(36, "data");
  bytes.setUint32(40, 2 * samples.length, true);
  samples.forEach((sample, i) => {
    const value = Math.round(32768 * sample);
    bytes.setInt16(44 + 2 * i, Math.max(-32768, Math.min(32767, value)), true);
  });
  return new Blob([bytes], {type: "audio/wav"});
}
