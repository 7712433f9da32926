"""ETN interatomic potentials."""
