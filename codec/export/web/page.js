// The page: takes a file, codes or a recording, has the worker decode or encode it, and shows what
// came out.

import {hhcOf, readCodes, readHhc, statedLevel, wavOf} from "./hhc.js";
import {samplesOf} from "./sound.js";

const at = (id) => document.getElementById(id);
const worker = new Worker("worker.js", {type: "module"});
let meta = null, isReady = false, asked = null, links = [];

function tell(text, isBad = false) {
  at("status").textContent = text;
  at("status").classList.toggle("bad", isBad);
}

/** Take inputs while nothing is being decoded and all that it needs is loaded. */
function refresh() {
  const isBusy = !meta || !isReady || asked !== null;
  for (const id of ["file", "decode", "sound"]) at(id).disabled = isBusy;
}

/** Read an input and send its codes or samples to the worker. */
async function take(name, read) {
  if (at("file").disabled) return;
  asked = {name};
  refresh();
  at("result").hidden = true;
  at("player").pause();
  try {
    Object.assign(asked, await read());
    if (asked.recording) tell(`Encoding ${durationOf(asked.numSamples)} …`);
    else tell(`Decoding ${asked.codes.length} codes …`);
    worker.postMessage({codes: asked.codes, recording: asked.recording});
  } catch (error) {
    asked = null;
    refresh();
    tell(`${name}: ${error.message}`, true);
  }
}

const takeFile = (file) =>
  take(file.name, async () => readHhc(new Uint8Array(await file.arrayBuffer()), meta));

const takeRecording = (file) =>
  take(file.name, async () => {
    const recording = await samplesOf(file, meta.sample_rate);
    const numSamples = recording.length, most = meta.longest_encoded * meta.hop_length;
    if (numSamples > most) {
      throw new Error(
        `expected a recording of at most ${durationOf(most)}, got ${durationOf(numSamples)}`);
    }
    return {recording, numSamples};
  });

/** Samples in seconds. */
function durationOf(numSamples) {
  return `${(numSamples / meta.sample_rate).toFixed(2)} s`;
}

/** Keep the codes of a recording, and state its level as a file does. */
function keep({codes, level, seconds}) {
  const stated = meta.loudness_dbfs === null ? null : statedLevel(level);
  Object.assign(asked, {codes, level: stated, encoding: seconds});
  at("codes").value = codes.join(" ");
  tell(`Decoding ${codes.length} codes …`);
}

/** Offer a blob under a link. */
function offer(id, blob, name) {
  links.push(at(id).href = URL.createObjectURL(blob));
  at(id).download = name;
}

/** The factor that gives the decoded waveform the recording's level. */
function gainOf(level) {
  if (level === null || meta.loudness_dbfs === null) return 1;
  return level <= -120 ? 0 : 10 ** ((level - meta.loudness_dbfs) / 20);
}

function show(waveform, seconds) {
  const {name, codes, numSamples, level, encoding} = asked, gain = gainOf(level);
  const samples = waveform.subarray(0, numSamples).map((sample) => gain * sample);
  const duration = numSamples / meta.sample_rate;
  links.forEach((link) => URL.revokeObjectURL(link));
  links = [];
  const stem = name.replace(/\.[a-z0-9]+$/i, "").replace(/\s+/g, "_");
  offer("download", wavOf(samples, meta.sample_rate), `${stem}.wav`);
  at("player").src = at("download").href;
  at("coded").hidden = encoding === undefined;
  if (encoding !== undefined) offer("coded", hhcOf(asked, meta), `${stem}.hhc`);
  at("name").textContent = name;
  const facts = {
    Duration: durationOf(numSamples),
    Codes: `${codes.length}`,
    Level: level === null ? "of the codec" : `${level} dBFS`,
    ...(encoding !== undefined && {Encoded: `in ${encoding.toFixed(2)} s`}),
    Decoded: `in ${seconds.toFixed(2)} s, ${(duration / seconds).toFixed(1)} times real time`,
  };
  at("facts").replaceChildren(...Object.entries(facts).flatMap(([term, text]) => [
    Object.assign(document.createElement("dt"), {textContent: term}),
    Object.assign(document.createElement("dd"), {textContent: text}),
  ]));
  at("result").hidden = false;
  tell("Done.");
}

worker.onmessage = ({data}) => {
  if (data.coded) {
    keep(data.coded);
    return;
  }
  if (data.share !== undefined) {
    if (data.share < 1) tell(`Decoding: ${Math.round(100 * data.share)} %`);
    return;
  }
  if (data.ready) isReady = true;
  if (data.error) tell(data.error, true);
  else if (data.waveform) show(data.waveform, data.seconds);
  else tell("Ready.");
  asked = null;
  refresh();
};
worker.onerror = (event) => tell(`worker.js: ${event.message || "it cannot be loaded"}`, true);

for (const [id, taken] of [["file", takeFile], ["sound", takeRecording]]) {
  at(id).addEventListener("change", () => {
    const [file] = at(id).files;
    at(id).value = ""; // so that the same file can be chosen again
    if (file) taken(file);
  });
}
at("decode").addEventListener("click", () =>
  take("codes", async () => readCodes(at("codes").value, meta)));
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    document.body.classList.toggle("over", kind === "dragover");
    const [file] = kind === "drop" ? event.dataTransfer.files : [];
    if (!file) return;
    const isSound = meta?.longest_encoded && !/\.hhc$/i.test(file.name);
    (isSound ? takeRecording : takeFile)(file);
  });
}

tell("Loading the decoder …");
try {
  meta = await (await fetch("meta.json")).json();
  at("codec").textContent =
    `${meta.name}, ${meta.code_fingerprints[0]}: it runs in this browser, no file leaves it.`;
  if (meta.longest_encoded) {
    at("longest").textContent = durationOf(meta.longest_encoded * meta.hop_length);
    at("recording").hidden = false;
  }
  refresh();
} catch (error) {
  tell(`meta.json: ${error.message}`, true);
}
