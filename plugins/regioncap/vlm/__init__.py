"""Talking to a vLLM endpoint, and running one. Nothing here knows of Airflow.

`requests`    a request: what is sent
`protocol`    the bodies of the chat API
`dialects`    how servers want requests to be written where they do not agree
`faults`      what may come of a request instead of an answer
`endpoint`    what requests are sent to, as it is configured
`completion`  what came of one, as it is kept
`replicas`    which of an endpoint's servers is asked next
`wire`        one exchange with a server over HTTP
`watch`       follows servers while they are asked
`client`      sends a request until it is known what comes of it
`greeting`    finds out which dialect a server speaks
`told`        what tells a model from others of the same name
`probe`       what is asked before the first row
`metrics`     how busy a server is
`pace`        how many requests are under way at once
`tries`       when failures at a request are about its row
`acceptance`  whether requests like ours are taken at all
`shapes`      what requests can be compared by
`solitude`    which request it is that ends servers
`flow`        all requests, at that pace
`remedies`    what to change where a server refuses a request
`doctor`      what holds asking back, told from figures
`server`      starts a vLLM server, on a GPU or a CPU
`managed`     one that the tasks of a host share: the first starts it, and it ends when nobody needs it
"""
