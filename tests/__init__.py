"""Tests; a package, so that they find the emulator of CUDA whatever else is installed."""
