"""What is published, and how it is read.

`layout`      the names of all that is published
`manifest`    which build of a partition is the current one, and how another takes its place
`inventory`   every file of a build
`whole`       whether they are all there, as they were published
`history`     which earlier builds are kept, rolled back to, collected
`journal`     what people say beside the builds: lines that are only ever added
`corrections` what people have corrected, and what of it holds
`forgotten`   images that no build may hold any more
`reviews`     a person's sample of a build, and what follows from it
`compare`     what differs between two builds
`reader`      a published build as a user reads it: `regioncap.read`
"""
