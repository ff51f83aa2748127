"""A started Hearth with a directory of its own, which can be stopped, killed and started again."""

import asyncio
import os
import shutil
import signal
import socket
import tempfile
import time
import urllib.error
import urllib.request

PATIENCE = 60


class Server:
    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="hearth-nio-")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = None

    async def begin(self):
        options = [
            f'server.listen=["127.0.0.1:{self.port}"]',
            "registration.mode=open",
            "rate_limits.enabled=false",
            "log.level=warn",
        ]
        arguments = [part for option in options for part in ("--set", option)]
        self.process = await asyncio.create_subprocess_exec(
            os.environ["HEARTH"],
            *arguments,
            cwd=self.directory,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
        )
        end = time.monotonic() + PATIENCE
        while not await asyncio.to_thread(self._answers):
            if self.process.returncode is not None:
                raise RuntimeError(f"the server ended at its start: {self.process.returncode}")
            if time.monotonic() > end:
                raise RuntimeError("the server does not answer")
            await asyncio.sleep(0.02)

    def _answers(self):
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=5) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    async def end(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        await asyncio.wait_for(self.process.wait(), PATIENCE)

    async def restart(self):
        """An orderly stop and a new start; the clients go on with what they have."""
        await self.end()
        await self.begin()

    async def crash(self):
        """No time to tidy up."""
        await self.end(signal.SIGKILL)
        await self.begin()

    async def remove(self):
        if self.process and self.process.returncode is None:
            await self.end(signal.SIGKILL)
        shutil.rmtree(self.directory, ignore_errors=True)
