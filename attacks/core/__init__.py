"""The core of every attack: the victim as the attacker sees it, goal and loss, threat, parameters, the one loop `optimise`, Result."""
