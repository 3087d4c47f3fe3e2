// A publisher with whip-whep, as its README has it.

import { WHIPClient } from 'whip-whep/whip.js';
import { connections, microphone, record, recorded, say } from './witness.js';

const state = (window.voxpop = { requests: [], states: [] });

const player = Object.assign(new Audio(), { autoplay: true });
const fetched = window.fetch;
window.fetch = async (url, options) => {
  const response = await fetched(url, options);
  const { method = 'GET', headers = {} } = options ?? {};
  const etag = response.headers.get('etag');
  if (method !== 'GET') state.requests.push([method, response.status, headers['If-Match'] ?? null, etag]);
  return response;
};

async function publish(direction, url, token) {
  const pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
  pc.addEventListener('connectionstatechange', () => state.states.push(pc.connectionState));
  pc.addEventListener('track', ({ track }) => (player.srcObject = new MediaStream([track])));
  for (const track of microphone.getTracks()) pc.addTransceiver(track, { direction });
  const whip = new WHIPClient();
  await whip.publish(pc, url, token);
  Object.assign(window, { pc, whip });
  return whip.resourceURL.href;
}

/** How many packets of audio have come. */
async function received() {
  const stats = [...(await pc.getStats()).values()];
  return stats.find(({ type }) => type === 'inbound-rtp')?.packetsReceived ?? 0;
}

const ufrag = () => pc.remoteDescription.sdp.match(/a=ice-ufrag:(.*)\r\n/)[1];

Object.assign(window, { connections, publish, received, record, recorded, say, ufrag });
