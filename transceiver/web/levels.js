// How loud both sides are, and how long the caller waits for an answer: both on the clock of one AudioContext.

export const SILENT_DB = -60;
const LOUD_DB = -45; // an answer that can be heard
const OVER_NOISE_DB = 12; // the caller's speech over the noise of the room
const NOISE_RISE_DB_PER_S = 3; // how fast the idea of that noise follows it up
const ONSET_AFTER_S = 0.08; // of silence
const SAME_ANSWER_S = 1.0;

export class Levels extends EventTarget {
  constructor() {
    super();
    this.context = new AudioContext({ latencyHint: 'interactive' });
    this.ready = this.context.audioWorklet.addModule('level-worklet.js');
    this.sources = [];
    this.turns = new TurnClock((turn) => this.dispatchEvent(new CustomEvent('turn', { detail: turn })));
  }

  async watch(name, stream) {
    await this.ready;
    if (this.context.state === 'closed') return;
    await this.context.resume();
    const source = this.context.createMediaStreamSource(stream);
    const node = new AudioWorkletNode(this.context, 'level', { numberOfOutputs: 0 });
    node.port.onmessage = ({ data: [time, rms] }) => {
      const db = rms > 0 ? Math.max(SILENT_DB, 20 * Math.log10(rms)) : SILENT_DB;
      this.turns.push(name, time, db);
      this.dispatchEvent(new CustomEvent('level', { detail: { name, time, db } }));
    };
    source.connect(node);
    this.sources.push(source); // or it may be collected as garbage
  }

  // The agent says that an answer begins: the sound that comes with it is one. `budget` is what it says of it.
  answerStarted(budget) {
    this.turns.answerStarted(this.context.currentTime, budget);
  }

  close() {
    if (this.context.state !== 'closed') this.context.close();
  }
}

class TurnClock {
  #report;
  #noiseDb = SILENT_DB;
  #noiseAt = 0;
  #callerUntil = null;
  #agentUntil = -Infinity;
  #onset = null;
  #announced = null;

  constructor(report) {
    this.#report = report;
  }

  push(name, time, db) {
    if (name === 'you') this.#caller(time, db);
    else this.#agent(time, db);
  }

  answerStarted(time, budget) {
    this.#announced = { time, budget };
    this.#match();
  }

  #caller(time, db) {
    const risen = this.#noiseDb + NOISE_RISE_DB_PER_S * (time - this.#noiseAt);
    this.#noiseDb = Math.max(SILENT_DB, Math.min(db, risen));
    this.#noiseAt = time;
    if (db > Math.max(LOUD_DB, this.#noiseDb + OVER_NOISE_DB)) this.#callerUntil = time;
  }

  #agent(time, db) {
    if (db <= LOUD_DB) return;
    if (time - this.#agentUntil > ONSET_AFTER_S && this.#callerUntil !== null) {
      this.#onset = { from: this.#callerUntil, to: time };
      this.#match();
    }
    this.#agentUntil = time;
  }

  #match() {
    if (this.#onset === null || this.#announced === null) return;
    if (Math.abs(this.#onset.to - this.#announced.time) > SAME_ANSWER_S) return;
    this.#report({ ...this.#onset, budget: this.#announced.budget, ms: (this.#onset.to - this.#onset.from) * 1000 });
    this.#onset = this.#announced = null;
  }
}
