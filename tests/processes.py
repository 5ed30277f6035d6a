"""Looking at processes that may end while they are looked at: one that has ended is left out, and nothing raises."""

from contextlib import suppress

import psutil


def below(pid: int | None = None) -> list[psutil.Process]:
    """The running processes below `pid`, or else below this one."""
    with suppress(psutil.NoSuchProcess):
        return [process for process in psutil.Process(pid).children(recursive=True) if runs(process)]
    return []


def runs(process: psutil.Process) -> bool:
    """Whether it has not ended; one that ended and was not waited for has."""
    with suppress(psutil.NoSuchProcess):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def command(process: psutil.Process) -> list[str]:
    """Its command line; nothing if it has ended."""
    with suppress(psutil.NoSuchProcess):  # this one's subclass is raised for a process nobody has waited for yet
        return list(process.cmdline())
    return []


def kill(process: psutil.Process) -> None:
    """`kill -9`, if it still runs."""
    with suppress(psutil.NoSuchProcess):
        process.kill()


def addresses_listened_on() -> list[str]:
    """The IP addresses of all ports that processes below this one listen on, one for each port."""
    found = []
    for process in below():
        with suppress(psutil.NoSuchProcess):
            found += [
                connection.laddr.ip
                for connection in process.net_connections("inet")
                if connection.status == psutil.CONN_LISTEN
            ]
    return found
