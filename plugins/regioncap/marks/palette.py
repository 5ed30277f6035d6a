"""The fixed palette: region k always has colour k, which binds a number to its box better than one colour for all."""

RGB = tuple[int, int, int]

# Twelve colours that people and models tell apart at a glance, most different first; after twelve they repeat.
PALETTE: tuple[RGB, ...] = (
    (230, 25, 75),  # red
    (0, 130, 200),  # blue
    (60, 180, 75),  # green
    (255, 225, 25),  # yellow
    (145, 30, 180),  # purple
    (245, 130, 48),  # orange
    (70, 240, 240),  # cyan
    (240, 50, 230),  # magenta
    (128, 70, 20),  # brown
    (250, 190, 212),  # pink
    (0, 110, 110),  # teal
    (190, 240, 60),  # lime
)

# What each is called, in the same order.
NAMES = ("red", "blue", "green", "yellow", "purple", "orange", "cyan", "magenta", "brown", "pink", "teal", "lime")

BLACK: RGB = (0, 0, 0)
WHITE: RGB = (255, 255, 255)


def colour_of(region: int) -> RGB:
    """The colour of region `region` (1-based)."""
    return PALETTE[(region - 1) % len(PALETTE)]


def colour_name(region: int) -> str:
    """What the colour of region `region` (1-based) is called, in English."""
    return NAMES[(region - 1) % len(NAMES)]


def luminance(colour: RGB) -> float:
    """Relative luminance in 0..1 as WCAG 2 defines it (https://www.w3.org/TR/WCAG22/#dfn-relative-luminance)."""

    def linear(channel: int) -> float:
        value = channel / 255
        return value / 12.92 if value <= 0.04045 else float(((value + 0.055) / 1.055) ** 2.4)

    red, green, blue = map(linear, colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(colour: RGB) -> RGB:
    """Black or white, whichever stands out more against `colour`: 0.179 is where WCAG's two ratios are equal."""
    return BLACK if luminance(colour) > 0.179 else WHITE
