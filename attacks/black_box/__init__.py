"""Attacks that only ask: for scores of the classes, or for the class alone. Each question is counted.

    oracle   how they ask            score, square             from scores
    spatial  from either             decision, hop_skip_jump   from labels
"""
