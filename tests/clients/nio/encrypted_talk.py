"""Two people talk in an encrypted room, with files, a second device, restarts of the server, and restored sessions."""

import io

import nio
from nio.crypto.attachments import decrypt_attachment
from person import Person, ok

PICTURE = bytes(range(256)) * 300


class EncryptedTalk:
    """The steps of one conversation; each goes on from where the one before ended."""

    name = "encrypted"

    def __init__(self, server):
        self.server = server
        self.room_id = self.alice = self.bob = self.tablet = None

    async def register(self):
        self.alice = await Person.register(self.server, "alice", encrypted=True)
        self.bob = await Person.register(self.server, "bob", encrypted=True)

    async def room(self):
        alice, bob = self.alice, self.bob
        encryption = {"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}
        created = await alice.client.room_create(invite=[bob.id], initial_state=[encryption])
        self.room_id = ok(created, nio.RoomCreateResponse).room_id
        await bob.until("the invitation", lambda: self.room_id in bob.client.invited_rooms)
        ok(await bob.client.join(self.room_id), nio.JoinResponse)
        await bob.until("the room", lambda: bob.room(self.room_id) and bob.room(self.room_id).encrypted)
        await alice.until("two members", lambda: alice.room(self.room_id) and alice.room(self.room_id).member_count == 2)

    async def messages(self):
        alice, bob = self.alice, self.bob
        secret = await alice.send(self.room_id, {"msgtype": "m.text", "body": "Nobody reads this."})
        seen = await bob.sees(self.room_id, "Nobody reads this.")
        assert seen.decrypted and seen.event_id == secret
        stored = ok(await alice.client.room_get_event(self.room_id, secret), nio.RoomGetEventResponse).event
        assert stored.source["type"] == "m.room.encrypted" or getattr(stored, "decrypted", False), stored.source
        await bob.say(self.room_id, "Nor this.")
        assert (await alice.sees(self.room_id, "Nor this.")).decrypted

    async def file(self):
        alice, bob = self.alice, self.bob
        upload, keys = await alice.client.upload(
            lambda *_: io.BytesIO(PICTURE), "application/octet-stream", "soup", encrypt=True, filesize=len(PICTURE)
        )
        uri = ok(upload, nio.UploadResponse).content_uri
        await alice.send(self.room_id, {"msgtype": "m.file", "body": "soup", "file": {"url": uri, **keys}})
        event = await bob.sees(self.room_id, "soup")
        stored = ok(await bob.client.download(event.url), nio.MemoryDownloadResponse).body
        assert stored != PICTURE
        key, iv, digest = event.key["k"], event.iv, event.hashes["sha256"]
        assert decrypt_attachment(stored, key, digest, iv) == PICTURE

    async def second_device(self):
        alice, bob = self.alice, self.bob
        self.tablet = await Person.login(self.server, "bob", encrypted=True)
        device_id = self.tablet.client.device_id
        for person in (alice, bob):
            await person.until("the tablet", lambda: person.knows_device(bob.id, device_id))
        await alice.say(self.room_id, "For both devices.")
        for person in (bob, self.tablet):
            assert (await person.sees(self.room_id, "For both devices.")).decrypted
        await self.tablet.say(self.room_id, "From the tablet.")
        await alice.sees(self.room_id, "From the tablet.")

    async def to_device(self):
        alice, tablet = self.alice, self.tablet
        message = nio.ToDeviceMessage("m.test", tablet.id, tablet.client.device_id, {"soup": 1})
        ok(await alice.client.to_device(message), nio.ToDeviceResponse)
        await tablet.until("the message", lambda: "m.test" in [event.source["type"] for event in tablet.to_device])

    async def restart(self):
        alice, bob, tablet = self.alice, self.bob, self.tablet
        await self.server.restart()
        await bob.say(self.room_id, "After the restart.")
        await self.server.crash()
        await alice.say(self.room_id, "After the crash.")
        for person in (alice, bob, tablet):
            await person.sees(self.room_id, "After the restart.")
            await person.sees(self.room_id, "After the crash.")

    async def restore_login(self):
        before = self.alice
        await before.stop()
        self.alice = await Person.restore(self.server, before)
        await self.alice.sees(self.room_id, "After the restart.")
        await self.alice.say(self.room_id, "Here again.")
        for person in (self.bob, self.tablet):
            await person.sees(self.room_id, "Here again.")

    async def device_goes(self):
        alice, bob, tablet = self.alice, self.bob, self.tablet
        ok(await tablet.client.logout(), nio.LogoutResponse)
        await tablet.stop()
        device_id = tablet.client.device_id
        await alice.until("the tablet gone", lambda: not alice.knows_device(bob.id, device_id))
        await alice.say(self.room_id, "Without the tablet.")
        await bob.sees(self.room_id, "Without the tablet.")

    async def nothing_undecryptable(self):
        for person in (self.alice, self.bob):
            assert not person.not_decrypted, (person.id, person.not_decrypted)

    async def end(self):
        for person in (self.alice, self.bob, self.tablet):
            if person:
                await person.stop()
                person.forget_keys()

    STEPS = (
        register,
        room,
        messages,
        file,
        second_device,
        to_device,
        restart,
        restore_login,
        device_goes,
        nothing_undecryptable,
    )
