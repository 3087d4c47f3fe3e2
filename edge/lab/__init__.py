"""`voxpop lab`: client, PoP and region as network namespaces of one machine, joined by veth pairs."""
