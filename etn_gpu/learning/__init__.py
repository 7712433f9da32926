"""Learning: a potential of this library learns from a slow one, any ASE calculator, which labels what it must know."""
