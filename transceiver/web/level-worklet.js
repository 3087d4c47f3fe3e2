// Posts [time in s, RMS] for every block of about 10 ms. Time is that of the audio, not of the main thread.

const QUANTA = 4;

class Level extends AudioWorkletProcessor {
  #squares = 0;
  #samples = 0;
  #quanta = 0;

  process([input]) {
    const samples = input[0] ?? [];
    for (const sample of samples) this.#squares += sample * sample;
    this.#samples += samples.length;
    if (++this.#quanta === QUANTA) {
      this.port.postMessage([currentTime, this.#samples ? Math.sqrt(this.#squares / this.#samples) : 0]);
      this.#squares = this.#samples = this.#quanta = 0;
    }
    return true;
  }
}

registerProcessor('level', Level);
