"""The words: what the VLM is told, and what its answers say of each region. Pure functions.

`prompts`    the prompt, the system message, the JSON schema of an answer
`answers`    from an answer's text to a caption for each region
`grounding`  asking a model where things are, and reading boxes out of its answer
"""
