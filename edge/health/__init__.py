"""`voxpop announce`: a PoP host's VIPs are announced while its relay is well (docs/health.md)."""
