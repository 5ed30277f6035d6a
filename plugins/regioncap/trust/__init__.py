"""How far captions can be trusted: a listener is asked whose each caption is, and what it is worth is measured.

`questions` says what is asked and how an image is marked anew for it, `scorers` in which words, `planted` makes
captions that are known to be wrong, `answers` is what was heard, `scores` turns it into a trust for each caption,
`alike` says which captions say the same, and `estimate` tells from all of them how many of a build's captions are
wrong. Pure: no stores, no servers.
"""
