"""What lies in a drop, and what of it can be used.

`drop`        is it ready, which manifests has it, what are their rows
`readers`     from a manifest to its rows, a file for each format
`dates`       the drop's date, from a partition key, a param or a logical date
`plain`       a manifest as its reader gets it: unpacked, in UTF-8
`rows`        is one row's text in order
`checking`    many rows, in several processes
`given`       labels of boxes, and other fields that are carried along
`inside`      images that are members of tars, or rows of Parquet files
`elsewhere`   images that lie elsewhere than the drop, and which URIs are read
`box_keys`    boxes under another key than the declared one
`images`      from an image file to the picture that a person sees
`png`, `jpeg`, `tiff`, `webp`, `heif`  what Pillow leaves out of these formats: damage, blemishes, depths, crops
`unread`      what a file is that no decoder takes
`not_read`    what a file is that no reader takes
`colours`     from a decoder's pixels to sRGB over white, by ICC profiles; `coding`: by numbers, HDR too
`likeness`    how an image looks, in 256 bits
`decoders`    processes that do this, and can be killed; `decoder` is the life of one, `decoding` what it is asked for
`detectors`   regions for rows that give no boxes
`unforeseen`  errors that nobody foresaw: one costs its row, many stop the step
`seen`        ids so far, on disk
"""
