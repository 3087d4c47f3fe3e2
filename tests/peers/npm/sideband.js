// A server with the `openai` package: steers a call by a sideband until it has spoken, and tells what it saw.

import OpenAI from 'openai';
import { OpenAIRealtimeWS } from 'openai/realtime/ws';

const { CALL, TEXT } = process.env;
const call = new OpenAIRealtimeWS({ callID: CALL }, new OpenAI());
const seen = [];
const raw = [];

call.socket.on('message', (data) => raw.push(data.toString()));
const spoken = new Promise((resolve, reject) => {
  call.on('event', ({ type }) => {
    seen.push(type);
    if (type === 'session.created') {
      call.send({ type: 'session.update', session: { type: 'realtime', instructions: 'From the side.' } });
    } else if (type === 'session.updated') {
      const content = [{ type: 'input_text', text: TEXT }];
      call.send({ type: 'conversation.item.create', item: { type: 'message', role: 'user', content } });
      call.send({ type: 'response.create' });
    } else if (type === 'output_audio_buffer.stopped') {
      resolve();
    }
  });
  call.on('error', reject);
});
await spoken;
call.close();
console.log(JSON.stringify({ seen, raw }));
