"""What operators look at the fast path with, and put it on their interfaces by."""
