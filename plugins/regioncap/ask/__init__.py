"""Asking the VLM: what is asked, what is asked again, and how answers are kept.

`requests`   the requests about a row, each known by a hash of all that is sent
`attempts`   from the answers so far to the next request: a pure function
`listening`  what a judge is asked, and what follows from what it says: pure functions
`asking`     sends what has no answer yet, and writes the answers as they come
`bill`       what the answers cost the build
`ceiling`    how much may be asked, where that costs
`pace`       how fast something goes
`status`     how far a build is, read from its work area
"""
