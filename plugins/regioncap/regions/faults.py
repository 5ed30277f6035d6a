"""The exception that carries a reason code from where a row is found unusable to where it is written down."""


class RowFault(Exception):
    """This row cannot be used.

    `code` is a `Code`, or the name of an installed gate; `reason` is a sentence for the person who made the drop.
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason
