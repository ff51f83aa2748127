"""Two people talk, as they would with bots and desktop clients made with matrix-nio, in rooms of version 11 and 12."""

import asyncio
import io
import sys
import traceback

import nio
from encrypted_talk import EncryptedTalk
from person import Person, ok
from server import Server

PICTURE = bytes(range(256)) * 300


class Talk:
    """The steps of one conversation; each goes on from where the one before ended."""

    def __init__(self, server, version):
        self.server, self.version, self.name = server, version, f"room version {version}"
        self.room_id = self.alice = self.bob = self.upload = None

    async def register(self):
        self.alice = await Person.register(self.server, f"alice{self.version}")
        self.bob = await Person.register(self.server, f"bob{self.version}")
        whoami = ok(await self.alice.client.whoami(), nio.WhoamiResponse)
        assert (whoami.user_id, whoami.device_id) == (self.alice.id, self.alice.client.device_id)

    async def direct_chat(self):
        alice, bob = self.alice, self.bob
        created = await alice.client.room_create(
            is_direct=True,
            preset=nio.RoomPreset.trusted_private_chat,
            invite=[bob.id],
            room_version=self.version,
        )
        direct = ok(created, nio.RoomCreateResponse).room_id
        invited = await bob.until("the invitation", lambda: bob.client.invited_rooms.get(direct))
        assert invited.inviter == alice.id
        ok(await bob.client.join(direct), nio.JoinResponse)
        await bob.until("their own join", lambda: bob.room(direct))
        await alice.until("two members", lambda: alice.room(direct) and alice.room(direct).member_count == 2)
        await alice.say(direct, "Are you warm?")
        await bob.sees(direct, "Are you warm?")
        await bob.say(direct, "By the hearth.")
        await alice.sees(direct, "By the hearth.")

    async def room(self):
        alice, bob = self.alice, self.bob
        created = await alice.client.room_create(name="Kitchen", topic="Soup", room_version=self.version)
        self.room_id = ok(created, nio.RoomCreateResponse).room_id
        ok(await alice.client.room_invite(self.room_id, bob.id), nio.RoomInviteResponse)
        await bob.until("the invitation", lambda: self.room_id in bob.client.invited_rooms)
        ok(await bob.client.join(self.room_id), nio.JoinResponse)
        room = await bob.until("the room", lambda: bob.room(self.room_id))
        await bob.until("its name", lambda: (room.name, room.topic) == ("Kitchen", "Soup"))
        assert room.room_version == self.version, room.room_version
        members = ok(await bob.client.joined_members(self.room_id), nio.JoinedMembersResponse).members
        assert {member.user_id for member in members} == {alice.id, bob.id}

    async def messages(self):
        alice, bob = self.alice, self.bob
        first = await alice.say(self.room_id, "Is there soup?")
        assert (await bob.sees(self.room_id, "Is there soup?")).event_id == first
        await bob.send(self.room_id, {
            "msgtype": "m.text",
            "body": "There is.",
            "m.relates_to": {"m.in_reply_to": {"event_id": first}},
        })
        answer = await alice.sees(self.room_id, "There is.")
        assert answer.source["content"]["m.relates_to"]["m.in_reply_to"]["event_id"] == first
        regretted = await alice.say(self.room_id, "I am not hungry.")
        ok(await alice.client.room_redact(self.room_id, regretted, "I am"), nio.RoomRedactResponse)
        event = ok(await bob.client.room_get_event(self.room_id, regretted), nio.RoomGetEventResponse).event
        assert event.source["content"] == {}, event.source

    async def file(self):
        alice, bob = self.alice, self.bob
        upload, _ = await alice.client.upload(
            lambda *_: io.BytesIO(PICTURE), "application/x-soup", "soup ü.bin", filesize=len(PICTURE)
        )
        self.upload = ok(upload, nio.UploadResponse).content_uri
        await alice.send(self.room_id, {"msgtype": "m.file", "body": "soup ü.bin", "url": self.upload})
        event = await bob.sees(self.room_id, "soup ü.bin")
        assert event.url == self.upload
        file = ok(await bob.client.download(event.url), nio.MemoryDownloadResponse)
        assert file.body == PICTURE
        assert (file.content_type, file.filename) == ("application/x-soup", "soup ü.bin"), file

    async def names_and_avatars(self):
        alice, bob = self.alice, self.bob
        ok(await bob.client.set_displayname("Bob the Cook"), nio.ProfileSetDisplayNameResponse)
        ok(await bob.client.set_avatar(self.upload), nio.ProfileSetAvatarResponse)
        profile = ok(await alice.client.get_profile(bob.id), nio.ProfileGetResponse)
        assert (profile.displayname, profile.avatar_url) == ("Bob the Cook", self.upload)

        def member():
            return alice.room(self.room_id).users[bob.id]

        await alice.until("the new name", lambda: member().display_name == "Bob the Cook")
        await alice.until("the new avatar", lambda: member().avatar_url == self.upload)

    async def restart(self):
        alice, bob = self.alice, self.bob
        await self.server.restart()
        await bob.say(self.room_id, "After the restart.")
        await alice.sees(self.room_id, "After the restart.")
        await self.server.crash()
        await alice.say(self.room_id, "After the crash.")
        await bob.sees(self.room_id, "After the crash.")
        file = ok(await bob.client.download(self.upload), nio.MemoryDownloadResponse)
        assert file.body == PICTURE

    async def restore_login(self):
        before = self.alice
        await before.stop()
        self.alice = await Person.restore(self.server, before)
        for body in ("There is.", "After the restart.", "After the crash."):
            await self.alice.sees(self.room_id, body)
        ids, start = [], None
        while True:
            page = ok(await self.alice.client.room_messages(self.room_id, start, limit=3), nio.RoomMessagesResponse)
            ids += [event.event_id for event in page.chunk]
            start = page.end
            if not start:
                break
        timeline = {event.event_id for room_id, event in self.alice.seen if room_id == self.room_id}
        assert len(ids) == len(set(ids)) and timeline <= set(ids), (ids, timeline)

    async def logout(self):
        bob = self.bob
        ok(await bob.client.logout(), nio.LogoutResponse)
        refused = await bob.client.whoami()
        assert isinstance(refused, nio.WhoamiError) and refused.status_code == "M_UNKNOWN_TOKEN", refused
        await bob.stop()
        self.bob = await Person.login(self.server, bob.name)
        await self.bob.sees(self.room_id, "After the crash.")
        devices = ok(await self.bob.client.devices(), nio.DevicesResponse).devices
        assert [device.display_name for device in devices] == ["second device"], devices
        await self.bob.say(self.room_id, "Back again.")
        await self.alice.sees(self.room_id, "Back again.")

    async def end(self):
        for person in (self.alice, self.bob):
            if person:
                await person.stop()

    STEPS = (register, direct_chat, room, messages, file, names_and_avatars, restart, restore_login, logout)


async def main():
    passed = failed = 0
    server = Server()
    try:
        await server.begin()
        for talk in (Talk(server, "11"), Talk(server, "12"), EncryptedTalk(server)):
            for step in talk.STEPS:
                name = f"{step.__name__.replace('_', ' ')}, {talk.name}"
                try:
                    await step(talk)
                except Exception:  # Everything that goes wrong in a step is its failure.
                    traceback.print_exc()
                    print(f"not ok: {name}; what comes after it is not tried")
                    failed += 1
                    break
                print(f"ok: {name}")
                passed += 1
            await talk.end()
    finally:
        await server.remove()
    print(f"{passed} passed, {failed} failed")
    return failed


if __name__ == "__main__":
    sys.exit(1 if asyncio.run(main()) else 0)
