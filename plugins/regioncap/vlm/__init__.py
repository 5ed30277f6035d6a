"""Talking to a vLLM endpoint, and running one. Nothing here knows of Airflow.

`requests`  a request: what is sent
`client`    sends requests, and says what came of them
`flow`      as many requests at once as the servers can take
`remedies`  what to change where a server refuses a request
`server`    starts a vLLM server, on a GPU or a CPU
`managed`   one that the tasks of a host share: the first starts it, and it ends when nobody needs it
"""
