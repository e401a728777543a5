"""Text: a network that writes, and the text that it learns from by default.

`romeo_and_juliet.txt` is Shakespeare's play, in the public domain: characters 442,994 to 576,458, counted from 0, of the file
data/tinyshakespeare/input.txt of github.com/karpathy/char-rnn (MIT licence), unchanged, 133,465 characters of 61 kinds.
"""
