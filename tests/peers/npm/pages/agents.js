// An application with the Agents SDK: a session by WebRTC, as its documentation has it.

import { OpenAIRealtimeWebRTC, RealtimeAgent, RealtimeSession, tool } from '@openai/agents-realtime';
import { connections, count, microphone, received, record, recorded, say, sent } from './witness.js';

const calls = [];
const agent = new RealtimeAgent({
  name: 'clerk',
  instructions: 'Be short.',
  tools: [
    tool({
      name: 'get_time',
      description: 'Tell the time.',
      parameters: { type: 'object', properties: {}, required: [], additionalProperties: false },
      execute: async () => {
        calls.push('get_time');
        return 'half past two';
      },
    }),
  ],
});

const player = new Audio();
const state = (window.voxpop = { received, sent, history: [], errors: [], interruptions: 0, calls });

async function connect(baseUrl, apiKey) {
  const transport = new OpenAIRealtimeWebRTC({ baseUrl, mediaStream: microphone, audioElement: player });
  const session = new RealtimeSession(agent, { transport });
  session.on('history_updated', (history) => (state.history = history));
  session.on('error', ({ error }) => state.errors.push(error));
  session.on('audio_interrupted', () => (state.interruptions += 1));
  transport.on('connection_change', (status) => (state.status = status));
  await session.connect({ apiKey });
  window.session = session;
  return transport.callId;
}

Object.assign(window, { connect, connections, count, record, recorded, say });
