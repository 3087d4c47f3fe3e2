// The last seconds as a picture: the caller above the line, the parrot below, and the gap between them.

import { SILENT_DB } from './levels.js';

const SPAN_S = 12;
const BAR_MS = 300;
const REDRAW_MS = 50; // drawing must not take the time of audio on a small machine

export class Timeline {
  #canvas;
  #levels = { you: [], parrot: [] };
  #turns = [];
  #now = 0;
  #running = false;

  constructor(canvas) {
    this.#canvas = canvas;
    this.#draw();
    new ResizeObserver(() => this.#draw()).observe(canvas);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#draw());
  }

  start() {
    this.#levels = { you: [], parrot: [] };
    this.#turns = [];
    this.#running = true;
    let drawn = -Infinity;
    const step = (now) => {
      if (now - drawn >= REDRAW_MS) {
        this.#draw();
        drawn = now;
      }
      if (this.#running) requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  stop() {
    this.#running = false;
  }

  level(name, time, db) {
    this.#now = Math.max(this.#now, time);
    keep(this.#levels[name], { time, height: (db - SILENT_DB) / -SILENT_DB }, this.#now);
  }

  turn(turn) {
    keep(this.#turns, { ...turn, time: turn.to }, this.#now);
  }

  #draw() {
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    const ratio = devicePixelRatio || 1;
    if (this.#canvas.width !== Math.round(width * ratio) || this.#canvas.height !== Math.round(height * ratio)) {
      this.#canvas.width = Math.round(width * ratio);
      this.#canvas.height = Math.round(height * ratio);
    }
    const pen = this.#canvas.getContext('2d');
    const colour = (name) => getComputedStyle(this.#canvas).getPropertyValue(`--${name}`);
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    const x = (time) => width * (1 - (this.#now - time) / SPAN_S);
    const middle = height / 2;
    const reach = middle - 14;
    const bar = Math.max(1, (width * 0.0107) / SPAN_S);
    for (const [name, up] of [['you', -1], ['parrot', 1]]) {
      pen.fillStyle = colour(name);
      for (const { time, height: share } of this.#levels[name]) {
        pen.fillRect(x(time), middle, bar, up * Math.max(0.5, share * reach));
      }
    }
    pen.fillStyle = colour('line');
    pen.fillRect(0, middle - 0.5, width, 1);
    pen.font = '600 11px system-ui, sans-serif';
    pen.textAlign = 'center';
    for (const turn of this.#turns) {
      pen.fillStyle = colour(turn.ms <= BAR_MS ? 'good' : 'bad');
      pen.globalAlpha = 0.18;
      pen.fillRect(x(turn.from), 14, x(turn.to) - x(turn.from), height - 28);
      pen.globalAlpha = 1;
      pen.fillText(`${Math.round(turn.ms)} ms`, (x(turn.from) + x(turn.to)) / 2, 11);
    }
  }
}

function keep(list, item, now) {
  list.push(item);
  while (list.length && list[0].time < now - SPAN_S) list.shift();
}
