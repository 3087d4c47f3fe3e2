// An application with the `openai` package: its server makes the call of the offer.

import { OpenAIRealtimeWebRTC } from 'openai/realtime/webrtc';
import { application } from './application.js';

application(OpenAIRealtimeWebRTC);
