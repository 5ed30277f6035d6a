"""`python -m regioncap.cli`: the same as `regioncap`, where only the code is there and nothing is installed."""

from regioncap.cli.app import app

if __name__ == "__main__":
    app(prog_name="regioncap")
