"""What works in vector registers: the tiles (products) and the copies beside them. Addresses here are unchecked."""
