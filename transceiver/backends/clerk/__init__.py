"""A backend with words, offline: recognition by pocketsphinx, replies by rule, speech by espeak-ng."""
