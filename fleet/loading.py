"""While a program loads its code no garbage is looked for, and what it loaded is never looked through again.

Looking again and again through what is being loaded took a sixth of a start. Afterwards it held up a server's clients
for tenths of a second, and in a forked child it wrote to every object, and so to every page that was shared.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """Hold while a program's code is imported."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # with the little garbage there is: 3,000 objects of all that the server loads
        gc.enable()
