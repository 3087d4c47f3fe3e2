"""GPT-Live before a backend that speaks the Realtime protocol. docs/live.md has it from outside."""
