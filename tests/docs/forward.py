#!/usr/bin/env python3
"""forward.py FROM TO: passes connections on. Either is tcp:HOST:PORT or unix:PATH. A machine of machine.py has no network but
its own loopback; sockets in the file system are how it is reached."""
import asyncio
import sys


async def connect(place):
    kind, _, rest = place.partition(":")
    if kind == "unix":
        return await asyncio.open_unix_connection(rest)
    host, _, port = rest.rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def pump(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except (OSError, RuntimeError):
        writer.close()


async def main(here, there):
    async def serve(reader, writer):
        try:
            other_reader, other_writer = await connect(there)
        except OSError:
            writer.close()
            return
        await asyncio.gather(pump(reader, other_writer), pump(other_reader, writer))
        writer.close()
        other_writer.close()

    kind, _, rest = here.partition(":")
    if kind == "unix":
        server = await asyncio.start_unix_server(serve, rest)
    else:
        host, _, port = rest.rpartition(":")
        server = await asyncio.start_server(serve, host, int(port))
    print("listening", flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
