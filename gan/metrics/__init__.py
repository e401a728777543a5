"""How good are the samples? Numbers for a generator, each named after what it was measured with."""
