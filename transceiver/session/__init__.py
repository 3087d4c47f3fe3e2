"""One call, and all calls of a process."""
