"""Meta-Neighborhoods: an output layer adapted to each input by gradient steps on a learned dictionary."""
