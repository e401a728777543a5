"""What every attack uses. Read from the top down:

    victim        the network under attack, as much of it as the attacker may see
    goal, loss    what the attacker wants, and what is climbed for it
    threat        how far an input may be changed: a norm and its radius
    parameterise  what is trained: the perturbation in one form or another
    result        Task opens an attack and closes it with a Result
    optimise      the one loop; its parts: climb (forward, backward), best (bookkeeping), optimisers
    nearest, projections   for attacks that look for the smallest perturbation
    streams, arrays        random numbers for each sample; small tools
"""
