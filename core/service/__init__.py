"""What every daemon needs around the pure floor: files, logs, supervised processes."""
