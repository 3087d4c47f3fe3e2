// What an application does with a connection of the `openai` package: it adds its tracks, and has its
// server take the offer.

import { count, microphone, received, record, recorded, say, sent } from './witness.js';

const state = (window.voxpop = { received, sent, types: [], connection: [] });
const player = new Audio();
player.autoplay = true;
let Client;
let client;
let connected;
let takeAnswer;

/** Begin; its offer. */
async function offer() {
  received.length = state.types.length = state.connection.length = 0;
  client = new Client();
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

/** Go on with the answer, until it is connected. */
async function answer(sdp) {
  takeAnswer(sdp);
  await connected;
}

const send = (event) => client.send(event);
const close = () => client.close();

/** Put what a test calls into the page, of connections of that class. */
export function application(connection) {
  Client = connection;
  Object.assign(window, { answer, received, close, count, offer, record, recorded, say, send });
}
