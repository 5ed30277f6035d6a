"""What the model sees: numbered marks on a picture that has the size of the model's own eyes.

`styles`    the mark styles; drawn from `pieces`, with numbers placed by `labels` in the colours of `palette`
`profiles`  how each model family resizes an image (by one of the `size_rules`) and counts in it
`view`      the marked image, and crops of single regions; `resize` and `pixels` are its helpers
"""
