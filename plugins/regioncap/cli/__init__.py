"""`regioncap` on the command line.

`app`         all commands, and what `regioncap --help` says
`builds`      published builds: listed, rolled back, collected
`check`       a drop, before it is uploaded: what would become of it?
`trial`       `regioncap try`: what becomes of some rows under these params, and under those?
`compare`     two builds of a date: what differs between them?
`corrections`  captions that were corrected in Label Studio or CVAT
`forget`      an image: out of all that was published, and out of the work area
`review`      drawn regions of a build: does a person call their captions right?
`verify`      published builds: are they whole, byte for byte?
`upkeep`      what of the work area can go
`partitions`  what commands about published dates have in common
`places`      how a command reaches a place: with Airflow's connections, or by the environment
`terminal`    what is printed
"""
