// One call: plain WebRTC, one POST. Emits "state", "setup", "event" and "track"; knows nothing of the page.

const CALLS = '/v1/realtime/calls';
const STAGES = ['answer', 'ice', 'dtls', 'audio'];
const NAMES = { answer: 'signaling', ice: 'ice', dtls: 'dtls', audio: 'audio' };

export class Call extends EventTarget {
  constructor({ key, session }) {
    super();
    this.state = 'new';
    this.location = null;
    this.remoteStream = null;
    this.marks = {};
    this.pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    this.channel = this.pc.createDataChannel('oai-events');
    this.key = key;
    this.session = session;
    this.#watch();
  }

  async start(microphone) {
    for (const track of microphone.getAudioTracks()) this.pc.addTrack(track, microphone);
    await this.pc.setLocalDescription();
    this.#become('calling');
    this.#mark('post');
    const answer = await this.#post(this.pc.localDescription.sdp); // no wait for candidates: the server needs none
    this.#mark('answer');
    if (this.state === 'ended') return;
    await this.pc.setRemoteDescription({ type: 'answer', sdp: answer });
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
    if (this.location) {
      fetch(this.location, { method: 'DELETE', headers: this.#headers(), keepalive: true }).catch(() => {});
    }
    this.channel.onclose = null;
    this.pc.close();
    this.#become('ended', reason);
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

  #watch() {
    this.pc.oniceconnectionstatechange = () => {
      if (['connected', 'completed'].includes(this.pc.iceConnectionState)) this.#mark('ice');
    };
    this.pc.onconnectionstatechange = () => this.#connectionChanged();
    this.pc.ontrack = ({ track, streams }) => {
      track.onunmute = () => this.#mark('audio');
      this.remoteStream = streams[0] ?? new MediaStream([track]);
      this.#emit('track', { stream: this.remoteStream });
    };
    this.channel.onmessage = ({ data }) => this.#emit('event', { direction: 'in', event: JSON.parse(data) });
    this.channel.onclose = () => this.hangUp('The other side hung up.');
  }

  #connectionChanged() {
    switch (this.pc.connectionState) {
      case 'connected':
        this.#mark('dtls');
        this.#become('connected');
        break;
      case 'disconnected':
        this.#become('reconnecting');
        break;
      case 'failed':
        this.hangUp('The connection was lost.');
        break;
    }
  }

  async #post(sdp) {
    const body = new FormData();
    body.append('sdp', sdp);
    body.append('session', JSON.stringify(this.session));
    const response = await fetch(CALLS, { method: 'POST', headers: this.#headers(), body });
    if (!response.ok) throw new Error(await refusal(response));
    this.location = response.headers.get('Location');
    if (this.state === 'ended') fetch(this.location, { method: 'DELETE', headers: this.#headers() });
    return response.text();
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
