"""A person at a matrix-nio client: registers or logs in, runs its sync loop, waits for what it expects to see."""

import asyncio
import shutil
import tempfile
import time

import nio

PATIENCE = 30


def ok(response, kind):
    """A response of the kind that says success."""
    assert isinstance(response, kind), f"{response}"
    return response


class Person:
    def __init__(self, server, name, keys=None):
        """`keys` is the directory of an encrypting device's database, or None."""
        self.server, self.name, self.keys = server, name, keys
        self.password = f"password of {name}"
        # A request that the server does not answer in this time is given up and made again.
        config = nio.AsyncClientConfig(
            request_timeout=PATIENCE, max_timeout_retry_wait_time=1, encryption_enabled=keys is not None
        )
        self.client = nio.AsyncClient(server.url, f"@{name}:localhost", store_path=keys or "", config=config)
        self.seen = []
        self.not_decrypted = []
        self.to_device = []
        self.loop = None

    @classmethod
    async def register(cls, server, name, encrypted=False):
        person = cls(server, name, cls._new_keys(encrypted))
        ok(await person.client.register(name, person.password, "first device"), nio.RegisterResponse)
        return person._begin()

    @classmethod
    async def login(cls, server, name, encrypted=False):
        person = cls(server, name, cls._new_keys(encrypted))
        ok(await person.client.login(person.password, "second device"), nio.LoginResponse)
        return person._begin()

    @classmethod
    async def restore(cls, server, other):
        """A session that was kept: nothing but the access token and its device, and the database of its keys."""
        person = cls(server, other.name, other.keys)
        before = other.client
        person.client.restore_login(before.user_id, before.device_id, before.access_token)
        return person._begin()

    @staticmethod
    def _new_keys(encrypted):
        return tempfile.mkdtemp(prefix="hearth-nio-keys-") if encrypted else None

    def _begin(self):
        self.client.add_event_callback(self._note, nio.RoomMessage)
        self.client.add_event_callback(self._note_not_decrypted, nio.MegolmEvent)
        self.client.add_to_device_callback(self._note_to_device, nio.ToDeviceEvent)
        self.loop = asyncio.create_task(self.client.sync_forever(timeout=10_000))
        return self

    async def _note(self, room, event):
        self.seen.append((room.room_id, event))

    async def _note_not_decrypted(self, room, event):
        self.not_decrypted.append((room.room_id, event))

    async def _note_to_device(self, event):
        self.to_device.append(event)

    @property
    def id(self):
        return self.client.user_id

    def room(self, room_id):
        return self.client.rooms.get(room_id)

    def knows_device(self, user_id, device_id):
        """Whether messages would be encrypted for a device."""
        return any(device.id == device_id for device in self.client.device_store.active_user_devices(user_id))

    async def until(self, what, look):
        """What `look` finds, as soon as it finds something."""
        end = time.monotonic() + PATIENCE
        while not (found := look()):
            if self.loop.done():
                raise AssertionError(f"{self.id}: the sync loop has ended: {self.loop}")
            assert time.monotonic() < end, f"{self.id} never saw {what}"
            await asyncio.sleep(0.01)
        return found

    async def sees(self, room_id, body):
        def find():
            return next((event for room, event in self.seen if room == room_id and event.body == body), None)

        return await self.until(f"{body!r}", find)

    async def send(self, room_id, content):
        sent = await self.client.room_send(room_id, "m.room.message", content, ignore_unverified_devices=True)
        return ok(sent, nio.RoomSendResponse).event_id

    async def say(self, room_id, body):
        event_id = await self.send(room_id, {"msgtype": "m.text", "body": body})
        await self.sees(room_id, body)
        return event_id

    async def stop(self):
        if self.loop:
            self.loop.cancel()
            await asyncio.gather(self.loop, return_exceptions=True)
        await self.client.close()

    def forget_keys(self):
        if self.keys:
            shutil.rmtree(self.keys, ignore_errors=True)
