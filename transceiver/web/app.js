// The page. `window.voxpop` shows tests and the curious what it knows; its members are listed there.

import { BAR_MS, bar, legend, split } from './budget.js';
import { Call } from './call.js';
import { Levels, SILENT_DB } from './levels.js';
import { Timeline } from './timeline.js';

const MAX_EVENTS = 200;
const MAX_TURNS = 16;
const STATS_EVERY_MS = 500;
const STATES = {
  microphone: 'Waiting for your microphone…',
  calling: 'Calling…',
  connected: 'Connected. Say something.',
  reconnecting: 'The way is lost; looking for another…',
};

const $ = (id) => document.getElementById(id);
const timeline = new Timeline($('timeline'));
let call = null;
let levels = null;
let microphone = null;
let pops = [];
let timer = null;

const voxpop = (window.voxpop = {
  state: 'idle', // idle, microphone, calling, connected, reconnecting, ended
  problem: null, // the sentence shown to the user, if something went wrong
  setup: {}, // ms: signaling, ice, dtls, audio, total
  turns: [], // { ms, from, to, budget, parts }: end of speech to first answer; times in s of the audio clock
  stats: {}, // rtt, jitterIn, jitterOut, buffer in ms; lossIn, lossOut as shares; packetsIn; remote
  path: {}, // pop, forwarder
  steering: [], // which PoPs the answer named: { pop, source, why, km }, source and why of the first alone
  events: [], // { direction, event, at }, the newest last
  call: null, // the Call, with its RTCPeerConnection `pc`, `channel` and `remoteStream`
});

$('call').addEventListener('click', start);
$('hangup').addEventListener('click', () => call?.hangUp());
addEventListener('pagehide', () => call?.hangUp());
$('silence').addEventListener('input', () => ($('silence-value').value = `${$('silence').value} ms`));
$('threshold').addEventListener('input', () => ($('threshold-value').value = $('threshold').value));
for (const id of ['silence', 'threshold']) {
  $(id).addEventListener('change', () => call?.send({ type: 'session.update', session: session() }));
}

$('budget').replaceChildren(...legend([]));

function session() {
  const turn_detection = {
    type: 'server_vad',
    silence_duration_ms: Number($('silence').value),
    threshold: Number($('threshold').value),
  };
  return { type: 'realtime', audio: { input: { turn_detection } } };
}

async function start() {
  reset();
  show('microphone');
  try {
    levels = new Levels(); // made in the click, or the browser would not let it play
    levels.addEventListener('level', ({ detail }) => level(detail));
    levels.addEventListener('turn', ({ detail }) => turn(detail));
    microphone = await openMicrophone();
    call = voxpop.call = new Call({ key: $('key').value.trim(), session: session() });
    call.addEventListener('state', ({ detail }) => show(detail.state, detail.reason));
    call.addEventListener('steering', ({ detail }) => steered(detail));
    call.addEventListener('setup', ({ detail }) => setup(detail));
    call.addEventListener('event', ({ detail }) => heard(detail));
    call.addEventListener('track', ({ detail }) => play(detail.stream));
    levels.watch('you', microphone);
    timeline.start();
    await call.start(microphone);
    timer = setInterval(refresh, STATS_EVERY_MS);
  } catch (error) {
    fail(error);
  }
}

async function openMicrophone() {
  if (!navigator.mediaDevices) {
    throw new Error('Browsers open the microphone only for https:// pages and for localhost.');
  }
  return navigator.mediaDevices.getUserMedia({
    audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true },
  });
}

function fail(error) {
  const words = error.name === 'NotAllowedError' ? 'Without your microphone there is nothing to repeat.'
    : error.name === 'NotFoundError' ? 'No microphone was found.' : error.message;
  voxpop.problem = words;
  $('problem').textContent = words;
  $('problem').hidden = false;
  if (call) call.hangUp('No call.');
  else show('ended', 'No call.');
}

function show(state, reason) {
  voxpop.state = state;
  document.body.dataset.state = state;
  $('state').textContent = state === 'reconnecting' && reason ? `${STATES[state]} (${reason})` : STATES[state] ?? reason ?? '';
  const isOver = state === 'ended';
  if (state === 'connected') listPops();
  $('call').disabled = !isOver;
  $('hangup').disabled = isOver || state === 'microphone';
  if (isOver) release();
}

function release() {
  clearInterval(timer);
  timeline.stop();
  levels?.close();
  for (const track of microphone?.getTracks() ?? []) track.stop();
  $('hears').textContent = $('says').textContent = '—';
  $('hears').dataset.hears = 'nothing';
  $('says').classList.remove('speaking');
  for (const name of ['you', 'parrot']) meter(name, SILENT_DB);
  call = levels = microphone = null;
}

function reset() {
  Object.assign(voxpop, { problem: null, setup: {}, turns: [], stats: {}, path: {}, steering: [], events: [], call: null });
  $('problem').hidden = true;
  $('events').replaceChildren();
  $('turns').replaceChildren();
  $('budget').replaceChildren(...legend([]));
  $('turn').className = '';
  for (const id of ['turn', 'setup', 'rtt', 'jitter', 'loss', 'buffer', 'pop', 'steering', 'forwarder', 'remote', 'session']) {
    $(id).textContent = '—';
  }
  $('turn-note').textContent = '';
  setup({});
}

function play(stream) {
  const player = new Audio();
  player.srcObject = stream;
  player.play().catch(() => {});
  voxpop.player = player; // keeps it from being collected
  levels?.watch('parrot', stream);
}

// Levels and turns

function level({ name, time, db }) {
  timeline.level(name, time, db);
  meter(name, db);
}

function meter(name, db) {
  const bar = $(name);
  bar.firstElementChild.style.transform = `scaleX(${((db - SILENT_DB) / -SILENT_DB).toFixed(3)})`;
  const rounded = Math.round(db);
  if (bar.getAttribute('aria-valuenow') === String(rounded)) return;
  bar.setAttribute('aria-valuenow', rounded);
  bar.setAttribute('aria-valuetext', db <= SILENT_DB ? 'silent' : `${rounded} decibels`);
}

function turn(detail) {
  timeline.turn(detail);
  const { ms, budget } = detail;
  const parts = split(ms, budget);
  voxpop.turns = [...voxpop.turns, { ...detail, parts }].slice(-MAX_TURNS);
  $('turn').textContent = `${Math.round(ms)} ms`;
  $('turn').className = ms <= BAR_MS ? 'good' : 'bad';
  $('turns').replaceChildren(...voxpop.turns.map(bar));
  $('budget').replaceChildren(...legend(parts));
}

// Events of the data channel

function heard({ direction, event }) {
  voxpop.events.push({ direction, event, at: performance.now() });
  if (voxpop.events.length > MAX_EVENTS) voxpop.events.shift();
  log(direction, event);
  if (direction === 'in') react(event);
}

function react(event) {
  switch (event.type) {
    case 'session.created':
      $('session').textContent = $('session').title = event.session?.id ?? '—';
      hears('nothing', 'listening');
      break;
    case 'input_audio_buffer.speech_started':
      hears('speech', 'it hears you');
      break;
    case 'input_audio_buffer.speech_stopped':
      hears('nothing', 'turn over');
      break;
    case 'output_audio_buffer.started':
      says(true, 'speaking');
      levels?.answerStarted(event.voxpop?.budget);
      if (event.voxpop?.since_speech_ms !== undefined) {
        $('turn-note').textContent = `${event.voxpop.since_speech_ms} ms in the server`;
      }
      break;
    case 'output_audio_buffer.stopped':
      says(false, 'done');
      break;
    case 'output_audio_buffer.cleared':
      says(false, 'interrupted');
      break;
  }
}

function hears(what, words) {
  $('hears').dataset.hears = what;
  $('hears').textContent = words;
}

function says(isSpeaking, words) {
  $('says').classList.toggle('speaking', isSpeaking);
  $('says').textContent = words;
}

const TOLD = ['audio_start_ms', 'audio_end_ms'];

function log(direction, event) {
  const item = document.createElement('li');
  const time = document.createElement('time');
  const began = voxpop.call?.marks.post ?? performance.now();
  time.textContent = `${((performance.now() - began) / 1000).toFixed(2)} s`;
  const arrow = document.createElement('span');
  arrow.textContent = direction === 'in' ? '←' : '→';
  const words = document.createElement('span');
  words.textContent = event.type;
  words.className = event.type === 'error' ? 'error' : direction;
  const details = document.createElement('small');
  details.textContent = ` ${describe(event)}`;
  words.append(details);
  item.append(time, arrow, words);
  item.title = JSON.stringify(event, null, 1);
  $('events').prepend(item);
  if ($('events').children.length > MAX_EVENTS) $('events').lastElementChild.remove();
}

function describe(event) {
  const parts = TOLD.filter((key) => key in event).map((key) => `${key} ${event[key]}`);
  for (const [key, value] of Object.entries(event.voxpop ?? {})) parts.push(`${key} ${words(value)}`);
  if (event.response?.status) parts.push(event.response.status);
  if (event.response?.status_details?.reason) parts.push(event.response.status_details.reason);
  if (event.error) parts.push(event.error.message);
  return parts.join(' · ');
}

function words(value) {
  if (typeof value !== 'object' || value === null) return String(value);
  return Object.entries(value).map(([key, each]) => `${key} ${each}`).join(', ');
}

// Numbers

function setup(times) {
  voxpop.setup = times;
  const total = times.total ?? Object.values(times).reduce((sum, value) => sum + value, 0);
  $('setup').textContent = times.total === undefined ? '—' : milliseconds(times.total);
  for (const stage of ['signaling', 'ice', 'dtls', 'audio']) {
    $(`setup-${stage}`).textContent = milliseconds(times[stage]);
    document.querySelector(`#setup-bar [data-stage=${stage}]`).style.flexGrow = total ? (times[stage] ?? 0) / total : 0;
  }
}

async function refresh() {
  if (!call) return;
  const stats = await call.stats().catch(() => null);
  if (!stats || !call) return;
  voxpop.stats = stats;
  $('rtt').textContent = milliseconds(stats.rtt);
  $('jitter').textContent = `${milliseconds(stats.jitterIn)} / ${milliseconds(stats.jitterOut)}`;
  $('loss').textContent = `${percent(stats.lossIn)} / ${percent(stats.lossOut)}`;
  $('buffer').textContent = milliseconds(stats.buffer);
  $('remote').textContent = stats.remote ?? '—';
  const pop = pops.find(({ vips }) => vips.includes(stats.remote));
  voxpop.path = { pop: pop?.id, forwarder: pop?.forwarder };
  $('pop').textContent = pop ? (pop.state === 'unknown' ? pop.id : `${pop.id} (${pop.state})`) : '—';
  $('forwarder').textContent = pop?.forwarder ?? '—';
}

const REASONS = {
  nearest: 'nearest',
  order: 'first of the configuration',
  load: 'another is full',
  health: 'another is out',
};
const SOURCES = {
  pop_header: 'by the PoP that the request came through',
  location_header: 'by where the CDN saw you',
  database: 'by your address',
};

function steered(named) {
  voxpop.steering = named;
  const words = named.map(({ pop, source, why, km }) => {
    const reason = [REASONS[why], SOURCES[source]].filter(Boolean).join(' ');
    const about = [reason, km && `${km} km`].filter(Boolean).join(', ');
    return about ? `${pop} (${about})` : pop;
  });
  $('steering').textContent = $('steering').title = words.join(', then ') || '—';
}

async function listPops() {
  const key = $('key').value.trim();
  const response = await fetch('/v1/pops', { headers: key ? { Authorization: `Bearer ${key}` } : {} }).catch(() => null);
  pops = response?.ok ? await response.json() : [];
}

function milliseconds(value) {
  if (value === undefined) return '—';
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
}

function percent(value) {
  return value === undefined ? '—' : `${(value * 100).toFixed(1)} %`;
}
