"""What to change where a server refuses a request: known by the server's words."""

# What helps where a question, its images and its answer do not fit.
ROOM = (
    "start the server with a larger --max-model-len, or lower the param max_tokens or max_pixels; a caption_mode of "
    "joint sends one image instead of two"
)

# A piece of what vLLM 0.32, or a proxy before it, says, in lower case, and what helps then.
_REMEDIES = (
    (
        "image(s) may be provided",
        "start the server with --limit-mm-per-prompt '{\"image\": 2}', or set the param caption_mode to joint, which "
        "sends one image",
    ),
    ("maximum context length", ROOM),
    ("maximum model length", ROOM),
    ("max_model_len", ROOM),
    ("max_tokens", "lower the param max_tokens, or start the server with a larger --max-model-len"),
    ("allowed-local-media-path", "give local_media_path and --allowed-local-media-path the same folder, or neither"),
    ("is not a multimodal model", "serve a model that takes images"),
    ("shortest_edge", "give --mm-processor-kwargs both sizes, shortest_edge and longest_edge"),
    ("too large", "raise the limit for request bodies in the proxy before the server"),
    ("http 413", "raise the limit for request bodies in the proxy before the server"),
    ("response_format", "set the param answer_format to free_text, or serve the model with structured output"),
    ("json_schema", "set the param answer_format to free_text, or serve the model with structured output"),
    ("grammar", "set the param answer_format to free_text, or serve the model with structured output"),
)


def remedy(refusal: str) -> str | None:
    """What to change for a refusal in these words; None where they say nothing that is known."""
    lower = refusal.lower()
    return next((helps for words, helps in _REMEDIES if words in lower), None)
