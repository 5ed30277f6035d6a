"""The work area: what is kept while a build is made, and after it for the next one.

`layout`       the names of all that is kept
`plan`         what a run is going to do, as every later step reads it
`identity`     what a build is made by: settings, model, code, extensions
`served`       of which model answers are, as its servers tell
`shard`        a shard's rows, marked rows and records
`made_from`    what rows came of, whatever the model says of them
`rendering`    what `render` has marked so far
`receipts`     what a step wrote for a shard, and of what it made that
`completions`  what the VLM returned; what was paid for is found again
`earlier`      what earlier plans paid for, brought to a new one
`counts`       what tasks counted, for the report
`spent`        what a build has taken of requests and tokens
`row_index`    which row is in which shard
`claim`        one run at a time builds a date
`upkeep`       what can go, and how it goes
`begun`        the build that shards put their images into before it is written
`staged`       a build that waits for somebody's approval
"""
