// Samples of a recording that the browser can read.

// As codec/audio/io.py: an average with less of the energy comes of channels out of phase.
const CANCELLED_SHARE = 0.01, CANCELLED_RMS = 1e-3;

/**
 * Read a recording as one channel, the average of all.
 *
 * @param {Blob} file In a format of the browser's.
 * @param {number} sampleRate Hz that it is brought to.
 * @returns {Promise<Float32Array>}
 * @throws {Error} It is no recording, or its channels cancel each other.
 */
export async function samplesOf(file, sampleRate) {
  const context = new OfflineAudioContext(1, 1, sampleRate);
  let sound;
  try {
    sound = await context.decodeAudioData(await file.arrayBuffer());
  } catch {
    throw new Error("expected a recording, got none that this browser can read");
  }
  const samples = new Float32Array(sound.length), count = sound.numberOfChannels;
  let energy = 0, kept = 0;
  for (let channel = 0; channel < count; channel++) {
    sound.getChannelData(channel).forEach((sample, i) => {
      samples[i] += sample / count;
      energy += sample * sample / count;
    });
  }
  samples.forEach((sample) => kept += sample * sample);
  if (energy > CANCELLED_RMS ** 2 * samples.length && kept < CANCELLED_SHARE * energy) {
    throw new Error("its channels are out of phase and cancel each other");
  }
  return samples;
}
