"""The fast path: an XDP program that steers every established flow, and its hand in userspace.

Two levels of privilege meet here. `loader` and `netdev` compile, load and attach, and need BCC and
rights over interfaces; everything else reaches what is pinned through libbpf alone.
"""
