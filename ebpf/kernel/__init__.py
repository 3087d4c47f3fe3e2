"""The program and its maps in the kernel: compile, load, pin, read, run."""
