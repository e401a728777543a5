"""How Python becomes machine code, and how threads share work: compiling, atomic words, the one thread pool."""
