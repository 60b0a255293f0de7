"""`python -m tests.bench.granian_serving MODULE:APP PORT [CERTIFICATE KEY]`: serve any app as ours are served."""

import asyncio
import importlib
import signal
import sys
from pathlib import Path
from typing import Any

import uvloop

from fleet.serve import make_server


async def _main(name: str, port: str, *files: str) -> None:
    module, _, attribute = name.partition(":")
    app: Any = getattr(importlib.import_module(module), attribute)
    server = make_server(app, "127.0.0.1", int(port), *map(Path, files))
    if hasattr(app, "start"):
        await app.start()
    loop = asyncio.get_running_loop()
    signal.signal(signal.SIGTERM, lambda *_: loop.call_soon_threadsafe(server.stop))
    await server.serve()


if __name__ == "__main__":
    uvloop.run(_main(*sys.argv[1:]))
