"""Networks that compute with small integers: from a converted module to a program, packed weights, a file, predictions."""
