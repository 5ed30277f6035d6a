"""How an answer ended, whatever its server calls that: only one that is finished is an answer.

Most servers say what OpenAI's API says; some name the token, or have the words of the model's own API.
"""

from typing import Literal

Ending = Literal["whole", "no_room", "filtered", "tool", "unfinished"]

_WORDS: dict[str, Ending] = {
    **dict.fromkeys(("stop", "eos", "eos_token", "end_turn", "stop_sequence", "stop_token", "complete"), "whole"),
    **dict.fromkeys(("length", "max_tokens", "max_length", "max_new_tokens", "max_output_tokens"), "no_room"),
    **dict.fromkeys(("model_length", "context_length", "model_context_window_exceeded"), "no_room"),
    **dict.fromkeys(("content_filter", "safety", "recitation", "prohibited_content", "blocklist", "spii"), "filtered"),
    **dict.fromkeys(("tool_calls", "tool_call", "tool_use", "function_call"), "tool"),
}


def ending(finish_reason: str) -> Ending:
    """What a server's `finish_reason` means; `unfinished` for one that stopped the model, or says nothing known."""
    return _WORDS.get(finish_reason.lower(), "unfinished")
