# Ten verbs. `make demo` is the one to start with.
