"""One HTTP request makes a call: the API, its bodies, refusals and keys."""
