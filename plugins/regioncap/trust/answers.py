"""What was heard, as it is kept."""

from pydantic import BaseModel, ConfigDict, Field

from regioncap.trust.questions import Kind


class Heard(BaseModel):
    """A listener's answer to one question about one listening image."""

    model_config = ConfigDict(frozen=True)

    question: str = Field(description="The request's key.")
    image: str = Field(description="The row's id.")
    region: int = Field(ge=1, description="The region that the caption is claimed to be of.")
    kind: Kind
    caption: str
    round: int = Field(ge=0, description="Which shuffle it was, from 0.")
    shown: int | None = Field(description="The number that the region was shown under.")
    probabilities: dict[str, float] = Field(description="Of each number shown, and of `none`.")
    alone: bool = Field(default=False, description="Whether the answer tells of this region alone.")
