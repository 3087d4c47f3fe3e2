// One call: plain WebRTC, one POST. Emits "state", "setup", "event" and "track"; knows nothing of the page.
//
// When the way is lost, because the network is another one say, or audio stops, because the PoP is gone, ICE is
// restarted: a PATCH of the call with new credentials (RFC 9725 §4.3.3). By itself Chromium takes 3.5 s to leave a
// way that is silent. Firefox gives DTLS up as soon as there is no network at all; then only a new call
// helps. A few tries, ever later; then it is over.

import { fragmentOf, withFragment } from './restart.js';

const CALLS = '/v1/realtime/calls';
const STAGES = ['answer', 'ice', 'dtls', 'audio'];
const FRAGMENT = 'application/trickle-ice-sdpfrag';
const PAUSES_MS = [0, 1000, 2000, 4000, 8000, 8000]; // before each try; the server gives up after 30 s of silence
const REQUEST_TIMEOUT_MS = 5000; // of those that bring it back
const CHECK_TIMEOUT_MS = 4000; // for the first answered check after new credentials
const SILENT_MS = 2000; // the server sends packets all the time: without any for so long, the way is lost
const LISTEN_MS = 250;
const THROUGH = ['connected', 'completed'];
const LOST = ['disconnected', 'failed'];
const LAST_WORDS = [ // no call after these
  'session_expired', 'server_shutting_down', 'session_crashed', 'session_silent', 'backend_gone',
];
const NAMES = { answer: 'signaling', ice: 'ice', dtls: 'dtls', audio: 'audio' };

export class Call extends EventTarget {
  #answer = null;
  #microphone = null;
  #isDead = false; // DTLS has failed, which no ICE restart mends
  #isRecovering = false;
  #heard = { packets: 0, at: Infinity }; // when audio came last; Infinity before the first
  #isSilent = false;
  #listening = null;

  constructor({ key, session }) {
    super();
    this.state = 'new';
    this.location = null;
    this.steering = null; // of the last answer: [{ pop, source, why, km }], the first PoP and the one behind it
    this.remoteStream = null;
    this.marks = {};
    this.restarts = 0; // ICE restarts that the server took
    this.redials = 0; // calls made anew in place of one that was lost
    this.key = key;
    this.session = session;
    this.#open();
  }

  async start(microphone) {
    this.#microphone = microphone;
    this.#become('calling');
    await this.#dial();
  }

  async #dial(signal) {
    const { pc } = this;
    for (const track of this.#microphone.getAudioTracks()) pc.addTrack(track, this.#microphone);
    await pc.setLocalDescription();
    this.#mark('post');
    const answer = await this.#post(pc.localDescription.sdp, signal); // no wait for candidates: the server needs none
    this.#mark('answer');
    if (this.state === 'ended') return;
    this.#answer = answer;
    await pc.setRemoteDescription({ type: 'answer', sdp: answer });
  }

  // Time of each stage in ms, from the stage before it; `total` once there is audio.
  get setup() {
    const times = {};
    let before = this.marks.post;
    for (const stage of STAGES) {
      if (this.marks[stage] === undefined) break;
      times[NAMES[stage]] = Math.max(0, this.marks[stage] - before);
      before = Math.max(before, this.marks[stage]);
      if (stage === 'audio') times.total = before - this.marks.post;
    }
    return times;
  }

  send(event) {
    if (this.channel.readyState !== 'open') return false;
    this.channel.send(JSON.stringify(event));
    this.#emit('event', { direction: 'out', event });
    return true;
  }

  hangUp(reason = 'Call ended.') {
    if (this.state === 'ended') return;
    clearInterval(this.#listening);
    this.#close();
    this.#become('ended', reason);
  }

  #open() {
    this.pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    this.channel = this.pc.createDataChannel('oai-events');
    this.#watch(this.pc, this.channel);
  }

  #close() {
    if (this.location) {
      fetch(this.location, { method: 'DELETE', headers: this.#headers(), keepalive: true }).catch(() => {});
    }
    this.location = null;
    this.channel.onclose = this.channel.onmessage = null;
    this.pc.oniceconnectionstatechange = this.pc.onconnectionstatechange = this.pc.ontrack = null;
    this.pc.close();
  }

  // The numbers of the moment: RTT in ms, jitter in ms, loss as shares, and where the packets go.
  async stats() {
    const found = {};
    const reports = await this.pc.getStats();
    const transport = [...reports.values()].find((report) => report.type === 'transport');
    for (const report of reports.values()) {
      if (report.type === 'inbound-rtp' && report.kind === 'audio') {
        found.jitterIn = ms(report.jitter);
        found.packetsIn = report.packetsReceived ?? 0;
        found.lossIn = share(report.packetsLost, report.packetsLost + found.packetsIn);
        found.buffer = ms(report.jitterBufferDelay / report.jitterBufferEmittedCount);
        found.concealed = report.concealedSamples;
      } else if (report.type === 'remote-inbound-rtp' && report.kind === 'audio') {
        found.jitterOut = ms(report.jitter);
        found.rttMedia = ms(report.roundTripTime);
        found.lossOut = report.fractionLost;
      } else if (isSelected(report, transport)) {
        found.rtt = ms(report.currentRoundTripTime);
        const remote = reports.get(report.remoteCandidateId);
        if (remote) found.remote = endpoint(remote.address ?? remote.ip, remote.port);
      }
    }
    found.rtt ??= found.rttMedia;
    return found;
  }

  #watch(pc, channel) {
    pc.oniceconnectionstatechange = () => {
      if (THROUGH.includes(pc.iceConnectionState)) this.#mark('ice');
      if (LOST.includes(pc.iceConnectionState)) this.#recover();
    };
    pc.onconnectionstatechange = () => this.#connectionChanged();
    pc.ontrack = ({ track, streams }) => {
      track.onunmute = () => this.#mark('audio');
      this.remoteStream = streams[0] ?? new MediaStream([track]);
      this.#emit('track', { stream: this.remoteStream });
    };
    channel.onmessage = ({ data }) => this.#read(JSON.parse(data));
    channel.onclose = () => {
      if (pc.sctp?.transport.state === 'failed') this.#lose();
      else this.hangUp('The other side hung up.');
    };
  }

  // Every LISTEN_MS: whether audio comes.
  async #listen() {
    const [receiver] = this.pc.getReceivers();
    const reports = [...((await receiver?.getStats().catch(() => null)) ?? new Map()).values()];
    const packets = reports.find(({ type }) => type === 'inbound-rtp')?.packetsReceived ?? 0;
    const now = performance.now();
    if (packets !== this.#heard.packets) {
      this.#heard = { packets, at: now };
      this.#isSilent = false;
      this.#emit('heard');
    } else if (now - this.#heard.at > SILENT_MS && !this.#isSilent) {
      this.#isSilent = true;
      this.#recover();
    }
  }

  // Credentials were agreed on, and still no audio comes: from now on ICE says whether there is a way.
  #believeIce() {
    this.#heard.at = performance.now();
    this.#isSilent = false;
  }

  #read(event) {
    this.#emit('event', { direction: 'in', event });
    if (event.type === 'error' && LAST_WORDS.includes(event.error?.code)) this.hangUp(event.error.message);
  }

  #connectionChanged() {
    switch (this.pc.connectionState) {
      case 'connected':
        this.#mark('dtls');
        this.#listening ??= setInterval(() => this.#listen(), LISTEN_MS);
        this.#become('connected');
        break;
      case 'failed':
        if (!this.#wasThrough) this.hangUp('The connection could not be made.');
        else if (this.pc.sctp?.transport.state === 'failed') this.#lose();
        else this.#recover();
        break;
    }
  }

  #lose() {
    this.#isDead = true;
    this.#emit('dead');
    this.#recover();
  }

  get #isThrough() {
    return THROUGH.includes(this.pc.iceConnectionState) && !this.#isDead && !this.#isSilent;
  }

  get #wasThrough() {
    return this.marks.dtls !== undefined;
  }

  async #recover() {
    if (this.#isRecovering || this.state === 'ended' || !this.#wasThrough) return;
    this.#isRecovering = true;
    for (const [tried, pause] of PAUSES_MS.entries()) {
      if (tried > 0 && this.#isThrough) break;
      this.#become('reconnecting', `try ${tried + 1} of ${PAUSES_MS.length}`);
      if (await this.#isThroughWithin(pause, 'online')) break;
      const problem = await (this.#isDead ? this.#redial() : this.#restartIce());
      if (await this.#isThroughWithin(problem || this.#isDead ? 0 : CHECK_TIMEOUT_MS)) break;
      if (!problem) this.#believeIce();
      if (this.state !== 'ended' && problem?.isGone) this.hangUp('The server does not know this call any more.');
      if (this.state === 'ended') return;
    }
    this.#isRecovering = false;
    if (this.#isThrough) this.#become('connected');
    else if (this.state !== 'ended') this.hangUp('The connection was lost and did not come back.');
  }

  // Null, or why there was no restart; then all is as it was before.
  async #restartIce() {
    try {
      this.pc.restartIce();
      await this.pc.setLocalDescription(await this.pc.createOffer({ iceRestart: true }));
      const response = await fetch(this.location, {
        method: 'PATCH',
        headers: { ...this.#headers(), 'Content-Type': FRAGMENT, 'If-Match': '*' },
        body: fragmentOf(this.pc.localDescription.sdp),
        signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
      });
      if (response.status !== 200) {
        throw Object.assign(new Error(await refusal(response)), { isGone: [404, 410].includes(response.status) });
      }
      this.#learnSteering(response);
      const answer = withFragment(this.#answer, await response.text());
      await this.pc.setRemoteDescription({ type: 'answer', sdp: answer });
      this.#answer = answer;
      this.restarts += 1;
      return null;
    } catch (error) {
      if (this.pc.signalingState === 'have-local-offer') {
        await this.pc.setLocalDescription({ type: 'rollback' }).catch(() => {});
      }
      return error;
    }
  }

  // Null, or why there was no new call.
  async #redial() {
    this.#close();
    this.#open();
    this.#heard = { packets: 0, at: Infinity };
    this.#isSilent = false;
    try {
      await this.#dial(AbortSignal.timeout(REQUEST_TIMEOUT_MS));
      this.#isDead = false;
      this.redials += 1;
      return null;
    } catch (error) {
      return error;
    }
  }

  // Waits until ICE is through, the call is over, `wake` happens to the window, or time is up.
  #isThroughWithin(time, wake) {
    return new Promise((resolve) => {
      const stop = new AbortController();
      const look = (isOver) => {
        if (!this.#isThrough && !isOver && this.state !== 'ended') return;
        clearTimeout(timer);
        stop.abort();
        resolve(this.#isThrough);
      };
      const timer = setTimeout(look, time, true);
      this.pc.addEventListener('iceconnectionstatechange', () => look(false), { signal: stop.signal });
      this.addEventListener('state', () => look(false), { signal: stop.signal });
      this.addEventListener('heard', () => look(false), { signal: stop.signal });
      this.addEventListener('dead', () => look(true), { signal: stop.signal });
      if (wake) addEventListener(wake, () => look(true), { signal: stop.signal });
    });
  }

  async #post(sdp, signal) {
    const body = new FormData();
    body.append('sdp', sdp);
    body.append('session', JSON.stringify(this.session));
    const response = await fetch(CALLS, { method: 'POST', headers: this.#headers(), body, signal });
    if (!response.ok) throw new Error(await refusal(response));
    // Another region may have answered: fetch follows a 307, and leaves the key behind; see docs/steering.md.
    this.location = new URL(response.headers.get('Location'), response.url).href;
    this.#learnSteering(response);
    if (this.state === 'ended') fetch(this.location, { method: 'DELETE', headers: this.#headers() });
    return response.text();
  }

  #learnSteering(response) {
    this.steering = steeringOf(response.headers.get('Voxpop-Steering'));
    this.#emit('steering', this.steering);
  }

  #headers() {
    return this.key ? { Authorization: `Bearer ${this.key}` } : {};
  }

  #mark(stage) {
    if (this.marks[stage] !== undefined) return;
    this.marks[stage] = performance.now();
    this.#emit('setup', this.setup);
  }

  #become(state, reason) {
    this.state = state;
    this.#emit('state', { state, reason });
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

// A List of Strings with Parameters (RFC 9651), as our servers write it; [] for what is none.
function steeringOf(header) {
  return [...(header ?? '').matchAll(/"([\w.-]+)"((?:;[a-z]+=[\w.]+)*)/g)].map(([, pop, parameters]) => ({
    pop,
    ...Object.fromEntries(parameters.split(';').slice(1).map((each) => each.split('='))),
  }));
}

async function refusal(response) {
  const body = await response.json().catch(() => ({}));
  const words = body.error?.message ?? response.statusText;
  if (response.status === 401) return `${words} Enter an API key under Settings.`;
  if (response.status === 503) {
    return `The server takes no more calls at the moment; try again in ${response.headers.get('Retry-After') ?? 'a few'} s.`;
  }
  return `The server refused the call (${response.status}): ${words}`;
}

function isSelected(report, transport) {
  if (report.type !== 'candidate-pair') return false;
  if (transport?.selectedCandidatePairId) return report.id === transport.selectedCandidatePairId;
  return report.selected || (report.nominated && report.state === 'succeeded');
}

function ms(seconds) {
  return Number.isFinite(seconds) ? seconds * 1000 : undefined;
}

function share(part, whole) {
  return whole > 0 ? part / whole : undefined;
}

function endpoint(address, port) {
  return address?.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}
