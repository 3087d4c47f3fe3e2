"""What outlives a host: records in Redis or Valkey, or in memory where none is configured.

A store is a cache and a registry. It is never on the way of a first packet, and never believed: what
it holds is checked as a stranger's packet is. Keys and values are made and read here without I/O
(`keys`, `flow_record`); `redis` is the sole importer of the client library; `guarded` has the
circuit breaker that callers see.
"""
