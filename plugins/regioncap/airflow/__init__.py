"""The only room that knows Airflow: thin skins over the steps, and what the DAGs need beside them.

`plugin`                what Airflow loads into its processes
`timetable`             which date a nightly run builds
`build`, `publish`      the steps as operators
`wait_for_drop`, `drop_ready`  the sensor, and what it defers to
`params`                the form, and from a run to its settings
`pages`, `links`        what is published, in Airflow's UI, and the ways there
`page_rights`           who may see those pages, and write by them
`places`, `vlm`         from Airflow's connections to stores and the VLM
`provider`              the form of a VLM connection in Airflow's UI
`approval`              what a person is asked before a build is published
`notify`, `deadline`    who is told how runs end, and when a night is overdue
`late`, `late_dates`    drops that came after their own night
`upkeep`                what no build needs any more, and its end
`priority`, `weights`   who goes first
`progress`, `openlineage`  what Airflow's metrics and OpenLineage are told
"""
