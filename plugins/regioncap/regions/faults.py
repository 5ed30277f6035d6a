"""The exception that carries a reason code from where a row is found unusable to where it is written down."""

from regioncap.regions.codes import Code


class RowFault(Exception):
    """This row cannot be used. `reason` is a sentence for the person who made the drop."""

    def __init__(self, code: Code, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason
