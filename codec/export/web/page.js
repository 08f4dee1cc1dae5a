// The page: takes a file or codes, has them decoded by the worker, and shows what came out.

import {readCodes, readHhc, wavOf} from "./hhc.js";

const at = (id) => document.getElementById(id);
const worker = new Worker("decoder.js", {type: "module"});
let meta = null, isReady = false, asked = null, link = null;

function tell(text, isBad = false) {
  at("status").textContent = text;
  at("status").classList.toggle("bad", isBad);
}

/** Take inputs while nothing is being decoded and all that it needs is loaded. */
function refresh() {
  at("file").disabled = at("decode").disabled = !meta || !isReady || asked !== null;
}

/** Read an input and send its codes to the worker. */
async function take(name, read) {
  if (at("file").disabled) return;
  asked = {name};
  refresh();
  at("result").hidden = true;
  at("player").pause();
  try {
    Object.assign(asked, await read());
    tell(`Decoding ${asked.codes.length} codes …`);
    worker.postMessage({codes: asked.codes});
  } catch (error) {
    asked = null;
    refresh();
    tell(`${name}: ${error.message}`, true);
  }
}

const takeFile = (file) =>
  take(file.name, async () => readHhc(new Uint8Array(await file.arrayBuffer()), meta));

/** The factor that gives the decoded waveform the recording's level. */
function gainOf(level) {
  if (level === null || meta.loudness_dbfs === null) return 1;
  return level <= -120 ? 0 : 10 ** ((level - meta.loudness_dbfs) / 20);
}

function show(waveform, seconds) {
  const {name, codes, numSamples, level} = asked, gain = gainOf(level);
  const samples = waveform.subarray(0, numSamples).map((sample) => gain * sample);
  const duration = numSamples / meta.sample_rate;
  if (link) URL.revokeObjectURL(link);
  link = URL.createObjectURL(wavOf(samples, meta.sample_rate));
  at("player").src = at("download").href = link;
  at("download").download = `${name.replace(/\.hhc$/i, "").replace(/\s+/g, "_")}.wav`;
  at("name").textContent = name;
  const facts = {
    Duration: `${duration.toFixed(2)} s`,
    Codes: `${codes.length}`,
    Level: level === null ? "of the codec" : `${level} dBFS`,
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
worker.onerror = (event) => tell(`decoder.js: ${event.message || "it cannot be loaded"}`, true);

at("file").addEventListener("change", () => {
  const [file] = at("file").files;
  at("file").value = ""; // so that the same file can be chosen again
  if (file) takeFile(file);
});
at("decode").addEventListener("click", () =>
  take("codes", async () => readCodes(at("codes").value, meta)));
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    document.body.classList.toggle("over", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files.length) takeFile(event.dataTransfer.files[0]);
  });
}

tell("Loading the decoder …");
try {
  meta = await (await fetch("meta.json")).json();
  at("codec").textContent =
    `${meta.name}, ${meta.code_fingerprints[0]}: decoded in this browser, no file leaves it.`;
  refresh();
} catch (error) {
  tell(`meta.json: ${error.message}`, true);
}
