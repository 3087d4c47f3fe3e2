"""The next hops of the fast path, kept true to the kernel's routes and neighbours."""
