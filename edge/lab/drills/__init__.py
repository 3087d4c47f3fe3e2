"""Drills: something dies or is cut off or misconfigured under real calls; what callers heard is told."""
