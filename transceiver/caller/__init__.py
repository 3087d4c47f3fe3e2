"""`voxpop call`: a WebRTC client on the command line, made to measure Voxpop and not itself."""
