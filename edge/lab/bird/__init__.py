"""BIRD, which routes between the places of a lab: its configurations, its control socket, its answers."""
