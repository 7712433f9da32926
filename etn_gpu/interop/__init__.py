"""Potentials of other methods, read from their files and run as Programs."""
