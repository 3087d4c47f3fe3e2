"""What every daemon needs around the pure floor: files, logs, workers, and being a daemon at all."""
