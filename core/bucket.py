"""A token bucket, as values: what may happen at a rate, and at once."""

from __future__ import annotations

NS_PER_S = 1_000_000_000


class TokenBucket:
    """Holds `burst` tokens at most, and gets `per_s` of them in a second. Full at the start."""

    __slots__ = ("_at_ns", "_level", "burst", "per_s")

    def __init__(self, per_s: int, burst: int, now_ns: int) -> None:
        self.per_s = per_s
        """1 or more. May be changed, as may `burst`."""
        self.burst = burst
        self._level = burst * NS_PER_S
        """In parts of a token, a milliard each: whole numbers, so that nothing is lost by rounding."""
        self._at_ns = now_ns

    def refill(self, now_ns: int) -> None:
        """Put in what the time since then is worth. A clock that goes back puts in nothing."""
        elapsed_ns = max(0, now_ns - self._at_ns)
        self._level = min(self.burst * NS_PER_S, self._level + self.per_s * elapsed_ns)
        self._at_ns = max(now_ns, self._at_ns)

    def take(self, tokens: int = 1) -> bool:
        """Take some out; False, and nothing is taken, where there are fewer. More than the bucket can hold
        are taken out of a full one, which others then wait for.
        """
        if self._level < min(tokens, self.burst) * NS_PER_S:
            return False
        self._level -= tokens * NS_PER_S
        return True

    def debit(self, tokens: int) -> None:
        """Somebody else has taken some. It owes no more than it can hold."""
        self._level = max(-self.burst * NS_PER_S, self._level - tokens * NS_PER_S)

    @property
    def is_full(self) -> bool:
        """Whether it is as if it were new."""
        return self._level >= self.burst * NS_PER_S

    def wait_ns(self) -> int:
        """Until there is a token again; 0 where there is one."""
        return max(0, -((self._level - NS_PER_S) // self.per_s))
