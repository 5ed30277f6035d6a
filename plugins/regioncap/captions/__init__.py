"""The words: what the VLM is told, and what its answers say of each region. Pure functions.

`prompts`       the prompt, the system message, the JSON schema of an answer
`answers`       from an answer's text to a caption for each region, by way of
`thoughts`          what was thought before it,
`json_answers`      JSON, and what is nearly JSON,
`markup`            elements and tables,
`prose`             lines, headings, lists and sentences, in which
`starts`            descriptions start, at
`namings`           the names of regions as models write them,
`chat`              what is said round descriptions,
`cleaning`          and descriptions without their markup;
`reading`           what each of these gives, or its doubt
`endings`       how an answer ended, whatever its server calls that
`grounding`     asking a model where things are, and reading boxes out of its answer
"""
