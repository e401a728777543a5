"""Networks that draw, and the critics that judge them."""
