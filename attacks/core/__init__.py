"""What every attack uses: the victim as the attacker sees it, goal, loss, threat, parameters, the loop `optimise`, Result."""
