"""matrix-nio people who are told by JSON lines on standard input what to do, and answer by lines on standard output."""

import asyncio
import base64
import io
import json
import os
import sys
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "nio"))

import nio  # noqa: E402
from nio.crypto.attachments import decrypt_attachment  # noqa: E402
from person import Person, ok  # noqa: E402


class Server:
    """All that a person must know of it."""

    def __init__(self, url):
        self.url = url


class Company:
    def __init__(self, url):
        self.server = Server(url)
        self.people = {}

    async def register(self, who, name):
        self.people[who] = await Person.register(self.server, name, encrypted=True)
        return self.people[who].client.device_id

    async def login(self, who, name):
        self.people[who] = await Person.login(self.server, name, encrypted=True)
        return self.people[who].client.device_id

    async def join(self, who, room_id):
        person = self.people[who]
        await person.until("the invitation", lambda: room_id in person.client.invited_rooms)
        ok(await person.client.join(room_id), nio.JoinResponse)

    async def in_room(self, who, room_id, members):
        person = self.people[who]

        def complete():
            room = person.room(room_id)
            return room and room.encrypted and room.member_count == members

        await person.until("the room and who is in it", complete)
        # What was said before the device was there is not for it.
        person.not_decrypted.clear()

    async def say(self, who, room_id, body):
        await self.people[who].send(room_id, {"msgtype": "m.text", "body": body})

    async def say_file(self, who, room_id, content, file):
        """A message with a file, which is encrypted: its `file` is put into the content."""
        person, file = self.people[who], base64.b64decode(file)
        upload, keys = await person.client.upload(
            lambda *_: io.BytesIO(file), "application/octet-stream", encrypt=True, filesize=len(file)
        )
        uri = ok(upload, nio.UploadResponse).content_uri
        await person.send(room_id, {**content, "file": {"url": uri, **keys}})

    async def file(self, who, room_id, body):
        """The content of a message with an encrypted file, what is stored of the file, and what it is."""
        person = self.people[who]
        event = await person.sees(room_id, body)
        assert event.decrypted
        stored = ok(await person.client.download(event.url), nio.MemoryDownloadResponse).body
        file = decrypt_attachment(stored, event.key["k"], event.hashes["sha256"], event.iv)
        text = [base64.b64encode(part).decode() for part in (stored, file)]
        return {"content": event.source["content"], "stored": text[0], "file": text[1]}

    async def seen(self, who, room_id, bodies):
        """Those of the messages that have not been seen after a while, and how many could not be decrypted."""
        person = self.people[who]

        def missing():
            seen = {event.body for room, event in person.seen if room == room_id and event.decrypted}
            return [body for body in bodies if body not in seen]

        try:
            await person.until("the messages", lambda: not missing())
        except AssertionError:
            pass
        return {"missing": missing(), "notDecrypted": len(person.not_decrypted)}

    async def knows_device(self, who, user_id, device_id, known):
        person = self.people[who]
        await person.until("the change of devices", lambda: person.knows_device(user_id, device_id) == known)

    async def logout(self, who):
        person = self.people.pop(who)
        ok(await person.client.logout(), nio.LogoutResponse)
        await person.stop()
        person.forget_keys()

    async def end(self):
        for person in self.people.values():
            await person.stop()
            person.forget_keys()


async def main():
    company = Company(sys.argv[1])
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        command, *arguments = json.loads(line)
        try:
            answer = {"ok": await getattr(company, command)(*arguments)}
        except Exception:  # Everything that goes wrong is the answer.
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), flush=True)
    await company.end()


asyncio.run(main())
