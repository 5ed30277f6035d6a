"""What a build cost, as its report says it."""

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, Field

from regioncap.config.prices import Prices
from regioncap.work.counts import Spending


class Cost(BaseModel):
    """What asking for a build took, in all tries and runs that it needed, and what it cost."""

    # What is written has these fields only; of what is read, others are ignored.
    model_config = ConfigDict(extra="ignore", frozen=True, json_schema_extra={"additionalProperties": False})

    requests: int = Field(
        ge=0,
        description="Requests that were answered for it: for captions and boxes, by the judge, and what was "
        "asked again.",
        examples=[623],
    )
    prompt_tokens: int = Field(ge=0, description="Tokens that were read for these.", examples=[164021])
    completion_tokens: int = Field(ge=0, description="Tokens that were written.", examples=[3901])
    server_seconds: float = Field(
        ge=0,
        description="For each server's address, the seconds in which at least one of these was under way there. What "
        "several tasks had under way at once counts once, and pauses of up to a second count too.",
        examples=[41.3],
    )
    servers: int = Field(ge=0, description="At how many addresses.", examples=[1])
    unknown_tasks: int = Field(
        default=0, ge=0, description="Tasks of which it is not known: what they took is missing here.", examples=[0]
    )
    currency: str | None = Field(
        default=None,
        description="The currency of what follows. Null where the deployment has no prices.",
        examples=["USD"],
    )
    money: float | None = Field(default=None, ge=0, description="What it cost, by the prices.", examples=[0.0287])
    per_thousand_captions: float | None = Field(
        default=None,
        ge=0,
        description="The same for a thousand captions. Null where there are none.",
        examples=[0.1495],
    )
    prices: dict[str, float] | None = Field(
        default=None,
        description="The prices when the run was planned: of a million tokens that are read and written, of an hour of "
        "a server.",
        examples=[{"prompt_million": 0.0, "completion_million": 0.0, "server_hour": 2.5}],
    )


def cost_of(all_spent: Iterable[Spending | None], prices: Prices | None, captions: int) -> Cost:
    """What it cost to make so many captions, where that is what shards and their steps spent."""
    told = list(all_spent)
    spent = Spending.together(each for each in told if each is not None)
    seconds = spent.server_seconds
    cost = Cost(
        requests=spent.requests,
        prompt_tokens=spent.prompt_tokens,
        completion_tokens=spent.completion_tokens,
        server_seconds=round(seconds, 1),
        servers=len(spent.under_way),
        unknown_tasks=told.count(None),
    )
    if prices is None:
        return cost
    money = prices.money(spent.prompt_tokens, spent.completion_tokens, seconds)
    return cost.model_copy(
        update={
            "currency": prices.currency,
            "money": round(money, 6),
            "per_thousand_captions": round(1000 * money / captions, 6) if captions else None,
            "prices": prices.model_dump(exclude={"currency"}),
        }
    )


def cost_told(cost: Cost, taken_over: int) -> str:
    """What a build cost, in a sentence or two; so many of its questions were answered for an earlier build."""
    tokens = f"{cost.prompt_tokens:,} tokens read and {cost.completion_tokens:,} written"
    held = f"{cost.server_seconds:,.0f} server seconds"
    told = f"{tokens}, by {cost.requests:,} requests, judging and asking again included; {held}."
    if cost.money is not None and cost.currency is not None:
        per_thousand = cost.per_thousand_captions
        each = "" if per_thousand is None else f", {_money(per_thousand)} a thousand captions"
        told = f"{_money(cost.money)} {cost.currency}{each}: {told}"
    if taken_over:
        told += f" What an earlier build has paid for cost nothing: {taken_over:,} questions."
    if cost.unknown_tasks:
        told += f" Of {cost.unknown_tasks:,} tasks it is not known: theirs is missing."
    return told


def _money(amount: float) -> str:
    """To the cent, and of less than one as many digits as say something."""
    return f"{amount:,.2f}" if amount >= 1 or not amount else f"{amount:.2g}"
