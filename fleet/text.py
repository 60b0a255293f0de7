"""What a text must be to be kept and shown: people, hosts and headers send others too."""


def is_text(value: str) -> bool:
    """Say whether Postgres can hold it and UTF-8 can say it: no NUL, no lone surrogate."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in value
