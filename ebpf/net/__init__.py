"""Links, routes, neighbours and namespaces of this host, by netlink; attaching XDP to a link."""
