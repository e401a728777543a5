"""What several commands of attacks need: the setting of an attack, the table of attacks, networks to copy, defenses to break."""
