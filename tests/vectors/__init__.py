"""Test vectors that another implementation can be held to."""
