// A turn's time as parts: what the server says of it, and the rest, which is this browser's.

export const BAR_MS = 300;
const FULL_MS = 2 * BAR_MS; // the height of the chart
export const PARTS = {
  network: 'Network',
  jitter_buffer: 'Jitter buffer',
  end_of_turn: 'End of turn',
  backend: 'Backend',
  pacing: 'Pacing',
  way_out: 'Way out',
  rest: 'Your device, and the rest',
};

// [{ name, ms }] in order of time; their sum is `ms`. What the server does not know is in the rest, the last.
export function split(ms, budget) {
  const told = (name) => budget?.[`${name}_ms`];
  const known = Object.keys(PARTS)
    .filter((name) => Number.isFinite(told(name)) && told(name) >= 0)
    .map((name) => ({ name, ms: told(name) }));
  const rest = known.reduce((left, part) => left - part.ms, ms);
  return [...known, { name: 'rest', ms: rest }];
}

export function describe(ms, parts) {
  const words = parts.map(({ name, ms: each }) => `${PARTS[name].toLowerCase()} ${each.toFixed(1)}`);
  return `${Math.round(ms)} ms${ms > BAR_MS ? ', over the bar' : ''}: ${words.join(' + ')}`;
}

// One bar of the list, its parts from the bottom up; the text is for who does not see it, and for the pointer.
export function bar({ ms, parts }) {
  const item = document.createElement('li');
  item.title = describe(ms, parts);
  item.classList.toggle('over', ms > BAR_MS);
  item.style.height = `${Math.min(100, (ms / FULL_MS) * 100)}%`;
  const text = document.createElement('span');
  text.className = 'unseen';
  text.textContent = item.title;
  item.append(text, ...parts.map((part) => piece(part)));
  return item;
}

function piece({ name, ms }) {
  const each = document.createElement('i');
  each.dataset.part = name;
  each.style.flexGrow = Math.max(0, ms);
  return each;
}

// The rows of the legend, each with the time of one part of a turn.
export function legend(parts) {
  const times = new Map(parts.map(({ name, ms }) => [name, ms]));
  return Object.entries(PARTS).map(([name, label]) => {
    const row = document.createElement('div');
    row.dataset.part = name;
    const term = document.createElement('dt');
    term.textContent = label;
    const time = document.createElement('dd');
    time.textContent = times.has(name) ? `${times.get(name).toFixed(1)} ms` : '—';
    row.append(term, time);
    return row;
  });
}
