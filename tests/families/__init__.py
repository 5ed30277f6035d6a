"""Families of vision-language models as people serve them, small enough for a test.

`checkpoints`  makes a checkpoint of each, with random weights; it runs in vLLM's environment
`served`       one of them in a real vLLM, and what became of a drop's questions there
"""
