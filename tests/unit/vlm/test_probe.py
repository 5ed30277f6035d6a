"""What is found out of servers of which one is away."""

import aiohttp

from regioncap.vlm.client import VlmClient
from regioncap.vlm.doctor import DoctorFigures
from regioncap.vlm.endpoint import Endpoint
from regioncap.vlm.probe import identify
from regioncap.vlm.replicas import Server
from regioncap.vlm.wire import Wire


class Telling(Wire):
    """Servers that tell what they are; `asked` are those that were asked."""

    def __init__(self, endpoint: Endpoint, http: aiohttp.ClientSession) -> None:
        super().__init__(endpoint, http)
        self.asked: list[str] = []

    async def version(self, server: Server) -> str:
        self.asked.append(server.url)
        return "0.32"

    async def figures(self, server: Server) -> DoctorFigures | None:
        self.asked.append(server.url)
        return DoctorFigures(1, 1, 1, 1, 1, 1, 1, 1, 1)


async def test_a_server_that_is_away_is_not_waited_for_only_to_know_what_it_is() -> None:
    endpoint = Endpoint(base_urls=("http://good:8000/v1", "http://hangs:8000/v1"), model="m")
    async with aiohttp.ClientSession() as http:
        client = VlmClient(endpoint, http)
        client.wire = wire = Telling(endpoint, http)
        good, hanging = client.replicas.servers
        hanging.away = True
        await identify(client)
        assert client.identity == "good 0.32, hangs, context None"
        # Those of one alone would be compared with those of both.
        assert await client.read_figures() is None
        assert wire.asked == [good.url]
        hanging.away = False
        await identify(client)
        assert client.identity == "good 0.32, hangs 0.32, context None"
        figures = await client.read_figures()
        assert figures is not None and figures.answers == 2
