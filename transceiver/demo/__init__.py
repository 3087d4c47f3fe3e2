"""`voxpop demo`: everything on this machine, a real call, and the page to call from."""
