"""The steps of a build, one file for each of the DAG's tasks: a row's way from the drop to the warehouse.

`plan`      checks every row's text and cuts the rows into shards
`propose`   asks the VLM where things are, for rows without boxes
`render`    marks the images of a shard
`caption`   asks the VLM about every marked image that has no answer yet
`judge`     asks which region each caption describes, and what is made of captions known to be wrong
`validate`  makes records of the answers, or rejects their rows
`stage`     puts a shard's marked images where they are published, in the same task
`publish`   writes a whole build, then swaps it in

`check`     what `plan` and `render` would do with a drop, before it is uploaded
`trial`     some rows under several sets of settings; `reading`: how well the model reads marks
`preview`   a run's page about some rows, which publishes nothing
`forget`    images out of all builds and the work area; `without`: a build made anew without some rows
`anew`      why a date is built anew though nothing has changed
"""
