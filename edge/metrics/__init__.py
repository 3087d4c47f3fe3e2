"""What a relay shows to Prometheus, and where its numbers are."""
