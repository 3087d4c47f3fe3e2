// A backend that answers text with text and calls functions: aimock, with what it answers.
// Prints its URL, and ends with its standard input.

import { LLMock } from '@copilotkit/aimock';

const mock = new LLMock({ port: 0, chunkSize: 4 });
mock.on({ endpoint: 'realtime', hasToolResult: true }, { content: 'It is noon.' });
mock.on({ endpoint: 'realtime', userMessage: 'time' }, { toolCalls: [{ name: 'get_time', arguments: '{"zone": "UTC"}' }] });
mock.on({ endpoint: 'realtime', userMessage: 'colours' }, { content: 'Red, green and blue.' });
console.log(await mock.start());
process.stdin.resume();
process.stdin.on('end', () => mock.stop());
