"""What a region is called: by its mark, in prompts and in answers."""


def region_label(region: int) -> str:
    """What the mark of region `region` (1-based) says: the number in its name."""
    return str(region)


def region_name(region: int) -> str:
    """The name of region `region` (1-based) in prompts and answers."""
    return f"<region{region_label(region)}>"
