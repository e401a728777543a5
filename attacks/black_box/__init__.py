"""Attacks that only ask: for scores of the classes, or for the class alone. Each question is counted."""
