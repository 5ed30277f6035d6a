"""What a row, a box and a record are. Pure: no files, no images.

`boxes`    from a row's numbers to regions in pixels of the displayed image
`frames`   what pixels a row's boxes count: those of the image as displayed, as stored, or of the row's own size
`formats`  whether the declared box format and frame can be right, by all that a drop's boxes say
`records`  the form of records and rejected rows, and of what the steps hand on
`codes`    why a row or a box is not used, each code with its meaning
`names`    what a region is called
`served`   what is told of the model that describes them
`jsonl`    JSON lines, read leniently and written strictly
"""
