// A call by werift, a WebRTC stack in TypeScript: says Opus packets that it is given (base64, 20 ms each) and
// then silence, until the answer was heard to its end; tells all that came.

import { readFile } from 'node:fs/promises';
import { MediaStreamTrack, RTCPeerConnection, RtpHeader, RtpPacket } from 'werift';

const { URL_OF_CALLS, KEY, PACKETS } = process.env;
const FRAME_MS = 20;
const CLOCK = 48;
const { said, silence } = JSON.parse(await readFile(PACKETS, 'utf8'));
const states = [];
const events = [];
const heard = [];

const pc = new RTCPeerConnection({ iceServers: [] });
pc.connectionStateChange.subscribe((state) => states.push(state));
const track = new MediaStreamTrack({ kind: 'audio' });
const transceiver = pc.addTransceiver(track, { direction: 'sendrecv' });
transceiver.onTrack.subscribe((remote) =>
  remote.onReceiveRtp.subscribe(({ header, payload }) =>
    heard.push([header.sequenceNumber, header.timestamp, payload.toString('base64')]),
  ),
);

const channel = pc.createDataChannel('oai-events');
const seen = new Map();
channel.onMessage.subscribe((data) => {
  const text = data.toString();
  events.push(text);
  seen.get(JSON.parse(text).type)?.();
});
const event = (type) => new Promise((resolve) => seen.set(type, resolve));
const created = event('session.created');
const updated = event('session.updated');
const stopped = event('output_audio_buffer.stopped');

await pc.setLocalDescription(await pc.createOffer());
const headers = { Authorization: `Bearer ${KEY}`, 'Content-Type': 'application/sdp' };
const answer = await fetch(URL_OF_CALLS, { method: 'POST', headers, body: pc.localDescription.sdp });
if (answer.status !== 201) throw new Error(`${answer.status} ${await answer.text()}`);
const call = new URL(answer.headers.get('Location'), URL_OF_CALLS);
await pc.setRemoteDescription({ type: 'answer', sdp: await answer.text() });
await created;
channel.send(JSON.stringify({ type: 'session.update', session: { type: 'realtime', instructions: 'Be short.' } }));
await updated;

let isOver = false;
stopped.then(() => (isOver = true));
const began = performance.now();
for (let index = 0; !isOver; index++) {
  const payload = Buffer.from(said[index] ?? silence, 'base64');
  const header = new RtpHeader({ sequenceNumber: index, timestamp: index * FRAME_MS * CLOCK, marker: index === 0 });
  header.payloadType = transceiver.codecs[0].payloadType;
  track.writeRtp(new RtpPacket(header, payload));
  await new Promise((resolve) => setTimeout(resolve, began + (index + 1) * FRAME_MS - performance.now()));
}
const { status } = await fetch(call, { method: 'DELETE', headers });
await pc.close();
console.log(JSON.stringify({ states, events, heard, status }));
process.exit();
