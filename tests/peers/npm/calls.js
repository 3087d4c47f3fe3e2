// A server with the `openai` package: makes a call of a page's offer, or hangs one up.

import OpenAI from 'openai';

const { VERB, OFFER, SESSION, CALL } = process.env;
const client = new OpenAI({ maxRetries: 0 });

if (VERB === 'create') {
  const body = SESSION ? { sdp: OFFER, session: JSON.parse(SESSION) } : { sdp: OFFER };
  const { data, response } = await client.realtime.calls.create(body).withResponse();
  console.log(JSON.stringify({ answer: await data.text(), location: response.headers.get('location') }));
} else {
  await client.realtime.calls.hangup(CALL);
  console.log(JSON.stringify({}));
}
