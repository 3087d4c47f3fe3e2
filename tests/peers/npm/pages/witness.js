// What a page of a test has whatever client is on it: a microphone that says words when it is told to, and a
// witness of what really came, at the browser's own interfaces: so that the client stays as it is.

const context = new AudioContext();
const mouth = context.createMediaStreamDestination();

/** A stream in which `say` is heard. */
export const microphone = mouth.stream;

/** Say one of the site's sounds; resolves when it is said. */
export async function say(name) {
  const file = await fetch(`/${name}.wav`);
  const source = context.createBufferSource();
  source.buffer = await context.decodeAudioData(await file.arrayBuffer());
  source.connect(mouth);
  await new Promise((resolve) => {
    source.onended = resolve;
    source.start();
  });
}

/** All messages of event channels as they came, and those that were sent. */
export const received = [];
export const sent = [];
/** How many events of a type have come. */
export const count = (type) => received.filter((text) => JSON.parse(text).type === type).length;
/** All connections and remote streams. */
export const connections = [];
export const streams = [];

window.RTCPeerConnection = class extends window.RTCPeerConnection {
  constructor(...options) {
    super(...options);
    connections.push(this);
    this.addEventListener('track', ({ track }) => streams.push(new MediaStream([track])));
  }

  createDataChannel(...options) {
    const channel = super.createDataChannel(...options);
    channel.addEventListener('message', ({ data }) => received.push(data));
    const send = channel.send.bind(channel);
    channel.send = (data) => {
      sent.push(data);
      send(data);
    };
    return channel;
  }
};

let recording;

/** Record what is heard from now on. */
export function record() {
  const recorder = new MediaRecorder(streams.at(-1), { audioBitsPerSecond: 128000 });
  const chunks = [];
  recorder.ondataavailable = ({ data }) => chunks.push(data);
  recorder.start();
  recording = { recorder, chunks };
}

/** The file of it, in base64, with what a jitter buffer has still to play. */
export async function recorded() {
  const { recorder, chunks } = recording;
  await new Promise((resolve) => setTimeout(resolve, 1000));
  await new Promise((resolve) => {
    recorder.onstop = resolve;
    recorder.stop();
  });
  const bytes = new Uint8Array(await new Blob(chunks).arrayBuffer());
  let text = '';
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(text);
}
