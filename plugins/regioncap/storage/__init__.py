"""One seam over a local folder and an S3 bucket.

`store`     the seam: what RegionCap needs of a place to keep files
`local`     a folder
`s3`        a bucket
`uri`       from a URI to a store, and which URIs a run may name
`readback`  reads what was written before, by an earlier try, another run or another version
"""
