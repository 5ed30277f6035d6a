"""What asking costs, as the deployment says."""

from pydantic import BaseModel, ConfigDict, Field

_MILLION, _HOUR = 1_000_000, 3600.0


class Prices(BaseModel):
    """What is paid for asking: for tokens, as hosted APIs do, for the time of servers, or both."""

    # A misspelt name must not pass in silence.
    model_config = ConfigDict(extra="forbid", frozen=True)

    currency: str = Field(min_length=1, max_length=8, pattern="^[A-Za-z]+$")
    prompt_million: float = Field(0.0, ge=0, allow_inf_nan=False)
    completion_million: float = Field(0.0, ge=0, allow_inf_nan=False)
    server_hour: float = Field(0.0, ge=0, allow_inf_nan=False)

    @property
    def are_of_tokens(self) -> bool:
        """Whether tokens cost anything."""
        return bool(self.prompt_million or self.completion_million)

    def money(self, prompt_tokens: int, completion_tokens: int, server_seconds: float) -> float:
        """What so much costs."""
        tokens = prompt_tokens * self.prompt_million + completion_tokens * self.completion_million
        return tokens / _MILLION + server_seconds * self.server_hour / _HOUR


FREE = Prices(currency="XXX")
