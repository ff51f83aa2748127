// Two people talk, as they would in a web client, in rooms of version 11 and 12, and find everything again.

import assert from "node:assert";
import { after, before, test } from "node:test";
import { EventType, MsgType, RelationType } from "matrix-js-sdk";
import { Person } from "./person.js";
import { Server } from "./server.js";

let server;
before(async () => (server = await Server.start()));
after(async () => server.remove());

for (const version of ["11", "12"]) {
    test(`a direct chat in a room of version ${version}`, async (context) => {
        let alice = await Person.register(server, `alice${version}`);
        let bob = await Person.register(server, `bob${version}`);
        context.after(() => [alice, bob].forEach((person) => person.stop()));

        const { room_id: roomId } = await alice.client.createRoom({
            preset: "trusted_private_chat",
            is_direct: true,
            invite: [bob.id],
            room_version: version,
        });
        await alice.client.setAccountData(EventType.Direct, { [bob.id]: [roomId] });

        await context.test("the invitation arrives and is accepted", async () => {
            const invited = await bob.until("the invitation", () => bob.room(roomId));
            assert.equal(invited.getMyMembership(), "invite");
            assert.equal(invited.getDMInviter(), alice.id);
            await bob.client.joinRoom(roomId);
            await bob.until("their own join", () => bob.room(roomId).getMyMembership() === "join");
            await alice.until("the other's join", () => alice.room(roomId)?.getJoinedMemberCount() === 2);
            assert.equal(bob.room(roomId).getVersion(), version);
        });

        const first = await alice.say(roomId, "Are you warm?");
        await context.test("messages both ways, a reply and a reaction", async () => {
            await bob.sees(roomId, "Are you warm?");
            const reply = await bob.client.sendMessage(roomId, {
                "msgtype": MsgType.Text,
                "body": "By the hearth.",
                "m.relates_to": { "m.in_reply_to": { event_id: first } },
            });
            const seen = await alice.sees(roomId, "By the hearth.");
            assert.equal(seen.getId(), reply.event_id);
            assert.equal(seen.replyEventId, first);

            await bob.client.sendEvent(roomId, EventType.Reaction, {
                "m.relates_to": { rel_type: RelationType.Annotation, event_id: first, key: "🔥" },
            });
            await alice.until("the reaction", () =>
                alice.room(roomId).relations.getChildEventsForEvent(first, RelationType.Annotation, EventType.Reaction)
                    ?.getSortedAnnotationsByKey()?.[0]?.[0] === "🔥");
        });

        await context.test("unread counts", async () => {
            await alice.say(roomId, "Still there?");
            await bob.sees(roomId, "Still there?");
            await bob.until("a count", () => bob.room(roomId).getUnreadNotificationCount("total") === 1);
            assert.equal(alice.room(roomId).getUnreadNotificationCount("total"), 0);
            await bob.say(roomId, "Yes.");
            await bob.until("their own message counting as read", () =>
                bob.room(roomId).getUnreadNotificationCount("total") === 0);
        });

        await context.test("an edit and a redaction", async () => {
            await alice.client.sendMessage(roomId, {
                "msgtype": MsgType.Text,
                "body": "* Are you warm and dry?",
                "m.new_content": { msgtype: MsgType.Text, body: "Are you warm and dry?" },
                "m.relates_to": { rel_type: RelationType.Replace, event_id: first },
            });
            await bob.until("the edit", () =>
                bob.room(roomId).findEventById(first)?.getContent().body === "Are you warm and dry?");
            const regretted = await alice.say(roomId, "Forget this.");
            await bob.sees(roomId, "Forget this.");
            await alice.client.redactEvent(roomId, regretted, undefined, { reason: "said too much" });
            await bob.until("the redaction", () => bob.room(roomId).findEventById(regretted)?.isRedacted());
            const served = await bob.client.fetchRoomEvent(roomId, regretted);
            assert.deepEqual(served.content, {});
        });

        await context.test("the server is restarted, then crashes; the clients go on", async () => {
            await server.restart();
            await bob.say(roomId, "After the restart.");
            await alice.sees(roomId, "After the restart.");
            await server.crash();
            await alice.say(roomId, "After the crash.");
            await bob.sees(roomId, "After the crash.");
        });

        await context.test("a restored session finds everything", async () => {
            const { login } = alice;
            await alice.stop();
            alice = await Person.restore(server, login);
            for (const body of ["By the hearth.", "Still there?", "Yes.", "After the restart.", "After the crash."]) {
                await alice.sees(roomId, body);
            }
            assert.deepEqual(alice.client.getAccountData(EventType.Direct).getContent(), { [bob.id]: [roomId] });
            // Everything else is behind, page by page.
            const room = alice.room(roomId);
            while (room.oldState.paginationToken) await alice.client.scrollback(room, 5);
            assert.equal(room.getLiveTimeline().getEvents()[0].getType(), EventType.RoomCreate);
            const ids = room.getLiveTimeline().getEvents().map((event) => event.getId());
            assert.equal(new Set(ids).size, ids.length);
        });

        await context.test("a logout ends the session, and a login starts another", async () => {
            const { password } = bob;
            await bob.client.logout(true);
            await assert.rejects(bob.client.whoami(), { errcode: "M_UNKNOWN_TOKEN" });
            await bob.stop();
            bob = await Person.login(server, `bob${version}`, password);
            await bob.sees(roomId, "After the crash.");
            const { devices } = await bob.client.getDevices();
            assert.deepEqual(devices.map((device) => device.display_name), ["second device"]);
            await bob.say(roomId, "Back again.");
            await alice.sees(roomId, "Back again.");
        });
    });
}

test("a group in a private room: names, kick, ban and return", async (context) => {
    const people = await Promise.all(["carol", "dave", "erin"].map((name) => Person.register(server, name)));
    const [carol, dave, erin] = people;
    context.after(() => people.forEach((person) => person.stop()));
    await dave.client.setDisplayName("Dave the Brave");

    const { room_id: roomId } = await carol.client.createRoom({ preset: "private_chat", name: "Kitchen", topic: "Soup" });
    for (const guest of [dave, erin]) {
        await carol.client.invite(roomId, guest.id);
        await guest.until("the invitation", () => guest.room(roomId));
        await guest.client.joinRoom(roomId);
    }
    await carol.until("three members", () => carol.room(roomId)?.getJoinedMemberCount() === 3);
    assert.equal(carol.room(roomId).getMember(dave.id).name, "Dave the Brave");
    await erin.until("the name", () => erin.room(roomId).name === "Kitchen");

    await assert.rejects(dave.client.kick(roomId, carol.id), { errcode: "M_FORBIDDEN" });
    await carol.client.kick(roomId, dave.id, "too loud");
    await dave.until("being out", () => dave.room(roomId).getMyMembership() === "leave");
    await assert.rejects(dave.client.sendTextMessage(roomId, "Let me in!"), { errcode: "M_FORBIDDEN" });

    await carol.client.ban(roomId, dave.id);
    await assert.rejects(dave.client.joinRoom(roomId), { httpStatus: 403 });
    await carol.client.unban(roomId, dave.id);
    await carol.say(roomId, "While Dave was away.");
    await carol.client.invite(roomId, dave.id);
    await dave.until("another invitation", () => dave.room(roomId)?.getMyMembership() === "invite");
    await dave.client.joinRoom(roomId);
    await erin.until("three members again", () => erin.room(roomId).getJoinedMemberCount() === 3);
    await dave.say(roomId, "Quiet now.");
    await carol.sees(roomId, "Quiet now.");

    await erin.client.leave(roomId);
    await carol.until("one less", () => carol.room(roomId).getJoinedMemberCount() === 2);
});
