// An application with the `openai` package's connection for GPT-Live: its server makes the session.

import { OpenAILiveWebRTC } from 'openai/live/webrtc';
import { application } from './application.js';

application(OpenAILiveWebRTC);
