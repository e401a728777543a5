"""Attacks through a copy: a network that only answers is learnt from its answers, and what fools the copy is tried on it.

    extract   the copy itself        transfer   examples made on one network, tried on another
"""
