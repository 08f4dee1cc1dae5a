// The worker that runs the codec: {codes} or {recording} in; {ready}, {coded}, {share}, {waveform} or
// {error} out. A recording is encoded, and its codes decoded.

const RUNTIME = "onnxruntime/ort.wasm.bundle.min.mjs";
const WASM = "onnxruntime/ort-wasm-simd-threaded.wasm";

let ort, meta, decoder, encoder;

async function load() {
  meta = await (await fetch("meta.json")).json();
  try {
    ort = await import(`./${RUNTIME}`);
  } catch {
    throw new Error(
      `${RUNTIME} is missing: npm pack onnxruntime-web, then hh-codec export web with --runtime`);
  }
  // one thread: more need a server that isolates the page
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = {wasm: new URL(WASM, self.location.href).href};
  decoder = await opened("decoder.onnx");
}

const opened = (name) => ort.InferenceSession.create(name, {executionProviders: ["wasm"]});

/** Codes, and the level in dBFS, of samples (T,), up to `longest_encoded` codes of them. */
async function encoded(recording) {
  // loaded when first asked for: most visitors only listen
  encoder ??= await opened("encoder.onnx");
  const began = performance.now();
  const input = new ort.Tensor("float32", recording, [1, recording.length]);
  const {codes, level_dbfs: level} = await encoder.run({waveform: input});
  const seconds = (performance.now() - began) / 1000;
  return {codes: Uint16Array.from(codes.data, Number), level: level.data[0], seconds};
}

/** Windows of codes as of codec/streaming/long_form.py: computed [start, stop), kept [first, last). */
function windowsOf(count, size, overlap) {
  if (count <= size) return [{start: 0, stop: count, first: 0, last: count}];
  const core = size - 2 * overlap, found = [];
  for (let first = 0; first < count;) {
    const last = count - first > core + overlap ? first + core : count;
    const start = Math.min(Math.max(0, first - overlap), count - size);
    found.push({start, stop: start + size, first, last});
    first = last;
  }
  return found;
}

async function decoded(codes) {
  // codes on each side of a seam over which two windows are mixed
  const {hop_length: hop, fade} = meta, out = new Float32Array(codes.length * hop);
  const cuts = windowsOf(codes.length, meta.longest_decoded, meta.overlap);
  for (const [number, {start, stop, first, last}] of cuts.entries()) {
    const numbers = BigInt64Array.from(codes.subarray(start, stop), BigInt);
    const input = new ort.Tensor("int64", numbers, [1, stop - start]);
    const {waveform} = await decoder.run({codes: input});
    const from = first ? first - fade : 0, to = last < codes.length ? last + fade : last;
    const ramp = 2 * fade * hop;
    for (let i = from * hop; i < to * hop; i++) {
      const rise = first ? (i - from * hop + 0.5) / ramp : 1;
      const fall = last < codes.length ? (to * hop - i - 0.5) / ramp : 1;
      out[i] += waveform.data[i - start * hop] * Math.min(1, rise, fall);
    }
    waveform.dispose();
    self.postMessage({share: (number + 1) / cuts.length});
  }
  return out;
}

const loaded = load();
loaded.then(() => self.postMessage({ready: true}),
  (error) => self.postMessage({error: error.message}));

self.onmessage = async ({data}) => {
  try {
    await loaded;
    let codes = data.codes;
    if (data.recording) {
      const coded = await encoded(data.recording);
      codes = coded.codes;
      self.postMessage({coded});
    }
    const began = performance.now();
    const waveform = await decoded(codes);
    const seconds = (performance.now() - began) / 1000;
    self.postMessage({waveform, seconds}, [waveform.buffer]);
  } catch (error) {
    self.postMessage({error: error.message});
  }
};
