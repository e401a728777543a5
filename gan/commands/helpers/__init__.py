"""What several commands share: pictures of a game."""
