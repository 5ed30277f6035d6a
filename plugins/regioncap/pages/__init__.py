"""What is published, as pages to look at: read from the warehouse when somebody asks, and rendered without scripts.

`builds`      the dates of a warehouse, and one build of a date
`gallery`     a build's records, a few at a time, and those that somebody looks for
`rejects`     its rejected rows, likewise
`comparing`   what differs between two builds
`correcting`  what a person corrects, as lines of the journal
`returning`   captions that were corrected in an annotation tool, likewise
`originals`   the unmarked original of a record
`render`      the pages

Nothing here knows of Airflow: `airflow/pages.py` serves these to whom Airflow lets see the DAG.
"""
