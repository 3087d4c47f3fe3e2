// An application with the `openai` package: it adds its tracks, and its server makes the call of the offer.

import { OpenAIRealtimeWebRTC } from 'openai/realtime/webrtc';
import { count, microphone, received, record, recorded, say, sent } from './witness.js';

const state = (window.voxpop = { received, sent, types: [], connection: [] });
const player = new Audio();
player.autoplay = true;
let client;
let connected;
let takeAnswer;

/** Begin a call; its offer. */
async function offer() {
  received.length = state.types.length = state.connection.length = 0;
  client = new OpenAIRealtimeWebRTC();
  client.peerConnection.addTrack(microphone.getTracks()[0], microphone);
  client.peerConnection.addEventListener('track', ({ streams }) => (player.srcObject = streams[0]));
  client.onEvent(({ type }) => state.types.push(type));
  client.onConnectionEvent(({ type, state: now, reason, error }) =>
    state.connection.push([type, now ?? reason ?? `${error.code}: ${error.message}`]),
  );
  return new Promise((offered) => {
    const exchangeSdp = (sdp) => {
      offered(sdp);
      return new Promise((resolve) => (takeAnswer = resolve));
    };
    connected = client.connect({ exchangeSdp });
  });
}

/** Go on with the answer, until the call is connected. */
async function answer(sdp) {
  takeAnswer(sdp);
  await connected;
}

const send = (event) => client.send(event);
const close = () => client.close();

Object.assign(window, { answer, received, close, count, offer, record, recorded, say, send });
