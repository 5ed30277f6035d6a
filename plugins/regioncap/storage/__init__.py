"""One seam over a local folder and an S3 bucket.

`store`       the seam: what RegionCap needs of a place to keep files
`local`       a folder
`s3`          a bucket
`s3_answers`  what S3 says no by: whose fault it is, and what to do
`patience`    what may pass is tried again for minutes, file by file
`uri`         from a URI to a store, and which URIs a run may name
`readback`    reads what was written before, by an earlier try, another run or another version
"""
