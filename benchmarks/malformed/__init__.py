"""Malformed inputs of every kind, each of which has to end in one clear message with nothing written."""
