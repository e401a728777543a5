"""What several commands of `nets` share."""
