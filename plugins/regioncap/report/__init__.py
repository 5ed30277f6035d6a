"""What a person is told of a build.

`figures`   report.json: what became of every row, what the gates found
`across`    what is seen only when all rows lie side by side; `look_alikes` finds images that look alike
`judged`    how many captions are wrong, in words: no figure without its interval
`cost`      what a build cost: requests, tokens, server seconds and, with prices, money
`page`      report.html, a page that needs no server, and check.html, which is about a drop before it is built
`trial`     try.html, some rows under several sets of settings
`features`  the types of a record's fields, for the card
`advice`    what to do about each code
`html`      what all pages have in common
`card`      README.md, the dataset card; `licences` knows models' licences
`drift`     what is unlike the builds of the days before
`schemas`   include/schemas and docs/fields.md, made from the models
`shown`, `words`  text of unknown origin made fit to be shown, and counted
"""
