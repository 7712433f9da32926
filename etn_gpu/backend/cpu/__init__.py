"""The numba backend: Programs as tables, walked through by one compiled interpreter."""
