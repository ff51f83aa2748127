// People notice each other, as they would in a web client, in rooms of version 11 and 12: who types, who has read what,
// who is there, how they are called; and they find each other's rooms, through the directory and by knocking.

import assert from "node:assert";
import { after, before, test } from "node:test";
import {
    ClientEvent,
    EventType,
    JoinRule,
    MsgType,
    Preset,
    ReceiptType,
    RoomEvent,
    RoomMemberEvent,
    SetPresence,
    Visibility,
} from "matrix-js-sdk";
import { Person } from "./person.js";
import { Server } from "./server.js";

const LONG = 600_000;
const FORBIDDEN = { httpStatus: 403, errcode: "M_FORBIDDEN" };

let server;
before(async () => (server = await Server.start()));
after(async () => server.remove());

// New people, whose clients end with the test.
async function people(context, ...names) {
    const all = await Promise.all(names.map((name) => Person.register(server, name)));
    context.after(() => all.forEach((person) => person.stop()));
    return all;
}

// The person again, with nothing but what the server tells; the client that was is stopped.
async function restored(context, person) {
    await person.stop();
    const again = await Person.restore(server, person.login);
    context.after(() => again.stop());
    return again;
}

const membership = (person, roomId, of = person) => person.room(roomId)?.getMember(of.id)?.membership;

for (const version of ["11", "12"]) {
    test(`typing in a room of version ${version}`, async (context) => {
        const [alice, bob] = await people(context, `alice.types${version}`, `bob.types${version}`);
        const roomId = await alice.roomWith([bob], { room_version: version });
        const seen = [];
        alice.client.on(RoomMemberEvent.Typing, (_, { roomId, userId, typing }) => seen.push([roomId, userId, typing]));
        const sees = async (...states) => {
            await alice.until(`typing as ${states}`, () => seen.length >= states.length);
            assert.deepEqual(seen.splice(0), states.map((typing) => [roomId, bob.id, typing]));
        };

        await context.test("it starts and stops", async () => {
            await bob.client.sendTyping(roomId, true, LONG);
            await sees(true);
            await bob.client.sendTyping(roomId, false);
            await sees(false);
        });

        await context.test("it stops after its time", async () => {
            await bob.client.sendTyping(roomId, true, 2_000);
            await sees(true, false);
        });

        await context.test("nobody types for somebody else", async () => {
            const path = `/rooms/${encodeURIComponent(roomId)}/typing/${encodeURIComponent(alice.id)}`;
            const body = { typing: true, timeout: LONG };
            await assert.rejects(bob.client.http.authedRequest("PUT", path, undefined, body), FORBIDDEN);
        });

        await context.test("after a restart it starts and stops again", async () => {
            await server.restart();
            await alice.say(roomId, "Here again.");
            await bob.client.sendTyping(roomId, true, LONG);
            await sees(true);
            await bob.client.sendTyping(roomId, false);
            await sees(false);
        });
    });

    test(`receipts and unread counts in a room of version ${version}`, async (context) => {
        const [alice, bob] = await people(context, `alice.reads${version}`, `bob.reads${version}`);
        const roomId = await alice.roomWith([bob], { room_version: version });
        let other = await Person.login(server, `bob.reads${version}`, bob.password);
        context.after(() => other.stop());
        const told = [];
        alice.client.on(RoomEvent.Receipt, (event) => told.push(event.getContent()));
        const counts = (person, total, highlight = 0) =>
            person.until(`${total} unread, ${highlight} to them`, () =>
                person.room(roomId)?.getUnreadNotificationCount("total") === total &&
                person.room(roomId).getUnreadNotificationCount("highlight") === highlight);
        // What the person's client was told, without what it made up itself.
        const receipt = (person, of, kind) => person.room(roomId).getReadReceiptForUserId(of.id, true, kind)?.eventId;

        const ids = [];
        for (const body of ["one", "two", "three"]) ids.push(await alice.say(roomId, body));
        const mention = { "msgtype": MsgType.Text, "body": "four", "m.mentions": { user_ids: [bob.id] } };
        ids.push((await alice.client.sendMessage(roomId, mention)).event_id);

        await context.test("unread messages are counted at every session, but not for who said them", async () => {
            await counts(bob, 4, 1);
            await counts(other, 4, 1);
            await counts(alice, 0);
        });

        await context.test("a public receipt is seen by the other, and counts at the other session", async () => {
            await bob.client.sendReadReceipt(await bob.sees(roomId, "two"));
            await alice.until("the receipt", () => receipt(alice, bob, ReceiptType.Read) === ids[1]);
            assert.ok(alice.room(roomId).hasUserReadEvent(bob.id, ids[0]));
            assert.ok(!alice.room(roomId).hasUserReadEvent(bob.id, ids[2]));
            const { data } = alice.room(roomId).getReadReceiptForUserId(bob.id, true);
            assert.ok(Math.abs(Date.now() - data.ts) < 120_000, `read at ${data.ts}`);
            await counts(other, 2, 1);
            await counts(bob, 2, 1);
        });

        await context.test("a private receipt is told to nobody else, and counts at the other session", async () => {
            told.splice(0);
            await bob.client.sendReadReceipt(await bob.sees(roomId, "four"), ReceiptType.ReadPrivate);
            await counts(other, 0);
            await counts(bob, 0);
            await other.until("their private receipt", () => receipt(other, bob, ReceiptType.ReadPrivate) === ids[3]);
            // The next public receipt is told, and nothing was told before it.
            await bob.client.sendReadReceipt(await bob.sees(roomId, "three"));
            await alice.until("the receipt", () => receipt(alice, bob, ReceiptType.Read) === ids[2]);
            assert.deepEqual(told.map((content) => Object.keys(content)), [[ids[2]]]);
            assert.deepEqual(Object.keys(told[0][ids[2]]), [ReceiptType.Read]);
            assert.deepEqual(Object.keys(told[0][ids[2]][ReceiptType.Read]), [bob.id]);
        });

        await context.test("all of it after a restart, at a restored session", async () => {
            ids.push(await alice.say(roomId, "five"));
            await counts(other, 1);
            await server.restart();
            other = await restored(context, other);
            await counts(other, 1);
            assert.equal(receipt(other, bob, ReceiptType.Read), ids[2]);
            assert.equal(receipt(other, bob, ReceiptType.ReadPrivate), ids[3]);
            const again = await restored(context, alice);
            await again.until("the room", () => receipt(again, bob, ReceiptType.Read) === ids[2]);
            assert.equal(receipt(again, bob, ReceiptType.ReadPrivate), undefined);
        });

        await context.test("the read marker goes to the other session, with its receipt", async () => {
            await bob.client.setRoomReadMarkers(roomId, ids[4], await bob.sees(roomId, "five"));
            await counts(other, 0);
            const marker = () => other.room(roomId).getAccountData(EventType.FullyRead)?.getContent().event_id;
            await other.until("the marker", () => marker() === ids[4]);
            assert.equal(receipt(other, bob, ReceiptType.Read), ids[4]);
            other = await restored(context, other);
            await counts(other, 0);
            assert.equal(marker(), ids[4]);
        });
    });

    test(`presence of people in a room of version ${version}`, async (context) => {
        const names = ["alice", "bob", "carol"].map((name) => `${name}.there${version}`);
        const [alice, first, carol] = await people(context, ...names);
        let bob = first;
        const roomId = await alice.roomWith([bob], { room_version: version });
        const sees = (person, presence, message) =>
            person.until(`${presence}, ${message}`, () => {
                const user = person.client.getUser(alice.id);
                return user?.presence === presence && user.presenceStatusMsg === message;
            });
        const told = [];
        carol.client.on(ClientEvent.Event, (event) => {
            if (event.getType() === "m.presence") told.push(event.getSender());
        });

        await context.test("a message is seen by who shares a room, and by nobody else", async () => {
            await alice.client.setPresence({ presence: "online", status_msg: "By the fire" });
            await sees(bob, "online", "By the fire");
            const asked = await bob.client.getPresence(alice.id);
            assert.equal(asked.presence, "online");
            assert.equal(asked.status_msg, "By the fire");
            assert.equal(asked.currently_active, true);
            await assert.rejects(carol.client.getPresence(alice.id), FORBIDDEN);
            await assert.rejects(
                bob.client.http.authedRequest("PUT", `/presence/${encodeURIComponent(alice.id)}/status`, undefined, {
                    presence: "online",
                    status_msg: "Bob is great",
                }),
                FORBIDDEN,
            );
            // What carol's sync tells next comes after all that.
            await carol.client.setPresence({ presence: "online", status_msg: "Alone" });
            await carol.until("themselves", () => carol.client.getUser(carol.id)?.presenceStatusMsg === "Alone");
            assert.deepEqual([...new Set(told)], [carol.id]);
        });

        await context.test("being away is seen, and keeps the message", async () => {
            await alice.client.setSyncPresence(SetPresence.Unavailable);
            // With this her client polls again, and says so.
            await bob.say(roomId, "Are you there?");
            await sees(bob, "unavailable", "By the fire");
            const asked = await bob.client.getPresence(alice.id);
            assert.equal(asked.presence, "unavailable");
            assert.equal(asked.status_msg, "By the fire");
        });

        await context.test("after a restart it is all told again", async () => {
            await server.restart();
            bob = await restored(context, bob);
            await sees(bob, "unavailable", "By the fire");
            await alice.client.setSyncPresence(SetPresence.Online);
            await bob.say(roomId, "And now?");
            await sees(bob, "online", "By the fire");
        });

        await context.test("who comes into the room is told", async () => {
            await alice.client.invite(roomId, carol.id);
            await carol.until("the invitation", () => membership(carol, roomId) === "invite");
            await carol.client.joinRoom(roomId);
            await sees(carol, "online", "By the fire");
            assert.equal((await carol.client.getPresence(alice.id)).status_msg, "By the fire");
        });
    });

    test(`names and faces in a room of version ${version}`, async (context) => {
        let [alice, bob] = await people(context, `alice.named${version}`, `bob.named${version}`);
        const roomId = await alice.roomWith([bob], { room_version: version });
        const face = `mxc://localhost/faceOfAlice${version}`;
        const looks = (person, name, avatar) =>
            person.until(`${name} with ${avatar}`, () => {
                const member = person.room(roomId)?.getMember(alice.id);
                return member?.name === name && member.getMxcAvatarUrl() === avatar;
            });

        await context.test("a change is seen in the room, with what was before", async () => {
            await alice.client.setDisplayName("Alice");
            await looks(bob, "Alice", undefined);
            await alice.client.setAvatarUrl(face);
            await looks(bob, "Alice", face);
            await alice.client.setDisplayName("Alice of the Hearth");
            await looks(bob, "Alice of the Hearth", face);
            await looks(alice, "Alice of the Hearth", face);
            const changed = bob.room(roomId).getMember(alice.id).events.member;
            assert.equal(changed.getPrevContent().displayname, "Alice");
            assert.equal(changed.getPrevContent().membership, "join");
            assert.deepEqual(await bob.client.getProfileInfo(alice.id), {
                displayname: "Alice of the Hearth",
                avatar_url: face,
            });
        });

        await context.test("after a restart, at a restored session and in the next room", async () => {
            await server.restart();
            bob = await restored(context, bob);
            await looks(bob, "Alice of the Hearth", face);
            const next = await alice.roomWith([bob], { room_version: version });
            assert.equal(bob.room(next).getMember(alice.id).name, "Alice of the Hearth");
            assert.equal(bob.room(next).getMember(alice.id).getMxcAvatarUrl(), face);
        });
    });

    test(`the directory finds a room of version ${version}`, async (context) => {
        const [alice, bob] = await people(context, `alice.hosts${version}`, `bob.strolls${version}`);
        const alias = `#tavern${version}:localhost`;
        const { room_id: roomId } = await alice.client.createRoom({
            preset: Preset.PublicChat,
            room_version: version,
            room_alias_name: `tavern${version}`,
            name: `Tavern number ${version}`,
            topic: "Ale and stories",
        });
        const find = async (term) => {
            const { chunk } = await bob.client.publicRooms({ limit: 10, filter: { generic_search_term: term } });
            return chunk;
        };
        const entry = {
            room_id: roomId,
            canonical_alias: alias,
            name: `Tavern number ${version}`,
            topic: "Ale and stories",
            num_joined_members: 1,
            world_readable: false,
            guest_can_join: false,
            join_rule: JoinRule.Public,
        };

        await context.test("a room that was not published is not there", async () => {
            assert.equal((await bob.client.getRoomDirectoryVisibility(roomId)).visibility, Visibility.Private);
            assert.deepEqual(await find(`tavern number ${version}`), []);
        });

        await context.test("who is not in the room cannot publish it", async () => {
            await assert.rejects(bob.client.setRoomDirectoryVisibility(roomId, Visibility.Public), FORBIDDEN);
        });

        await context.test("published, it is found by its name, whatever the case", async () => {
            await alice.client.setRoomDirectoryVisibility(roomId, Visibility.Public);
            assert.equal((await bob.client.getRoomDirectoryVisibility(roomId)).visibility, Visibility.Public);
            assert.deepEqual(await find(`tAVERN number ${version}`), [entry]);
            assert.deepEqual(await find("nowhere to be found"), []);
            const { chunk } = await bob.client.publicRooms();
            assert.deepEqual(chunk.filter((room) => room.room_id === roomId), [entry]);
        });

        await context.test("after a restart it is found and joined by its alias", async () => {
            await server.restart();
            assert.deepEqual(await find(`tavern number ${version}`), [entry]);
            assert.equal((await bob.client.getRoomIdForAlias(alias)).room_id, roomId);
            const joined = await bob.client.joinRoom(alias);
            assert.equal(joined.roomId, roomId);
            await bob.until("their own join", () => membership(bob, roomId) === "join");
            await bob.until("the alias", () => bob.room(roomId).getCanonicalAlias() === alias);
            await alice.until("the guest", () => membership(alice, roomId, bob) === "join");
            await bob.say(roomId, "Good evening.");
            await alice.sees(roomId, "Good evening.");
            assert.deepEqual(await find(`tavern number ${version}`), [{ ...entry, num_joined_members: 2 }]);
        });

        await context.test("another alias comes and goes, and the room leaves the directory", async () => {
            const second = `#inn${version}:localhost`;
            await alice.client.createAlias(second, roomId);
            assert.deepEqual((await bob.client.getLocalAliases(roomId)).aliases.sort(), [second, alias].sort());
            await assert.rejects(bob.client.deleteAlias(second), FORBIDDEN);
            await alice.client.deleteAlias(second);
            await assert.rejects(bob.client.joinRoom(second), { httpStatus: 404, errcode: "M_NOT_FOUND" });
            await alice.client.setRoomDirectoryVisibility(roomId, Visibility.Private);
            assert.deepEqual(await find(`tavern number ${version}`), []);
        });
    });

    test(`knocking on a room of version ${version}`, async (context) => {
        const names = ["alice", "bob", "carol"].map((name) => `${name}.knocks${version}`);
        let [alice, bob, carol] = await people(context, ...names);
        const { room_id: roomId } = await alice.client.createRoom({
            preset: Preset.PrivateChat,
            room_version: version,
            room_alias_name: `parlour${version}`,
            name: "Parlour",
        });
        await alice.say(roomId, "Before anybody came.");

        await context.test("not while the room is for invited people only", async () => {
            await assert.rejects(bob.client.knockRoom(roomId), FORBIDDEN);
        });

        await context.test("the knock is seen on both sides", async () => {
            await alice.client.sendStateEvent(roomId, EventType.RoomJoinRules, { join_rule: JoinRule.Knock }, "");
            const alias = `#parlour${version}:localhost`;
            const knocked = await bob.client.knockRoom(alias, { reason: "It is cold outside" });
            assert.equal(knocked.room_id, roomId);
            await bob.until("their own knock", () => bob.room(roomId)?.getMyMembership() === "knock");
            assert.equal(bob.room(roomId).name, "Parlour");
            await alice.until("the knock", () => membership(alice, roomId, bob) === "knock");
            const { member } = alice.room(roomId).getMember(bob.id).events;
            assert.equal(member.getContent().reason, "It is cold outside");
            await assert.rejects(bob.client.joinRoom(roomId), FORBIDDEN);
            await assert.rejects(bob.client.sendTextMessage(roomId, "Hello?"), FORBIDDEN);
        });

        await context.test("a restart later, at restored sessions, it is still there and is accepted", async () => {
            await server.restart();
            alice = await restored(context, alice);
            bob = await restored(context, bob);
            await bob.until("their own knock", () => bob.room(roomId)?.getMyMembership() === "knock");
            const waiting = alice.room(roomId).getMembersWithMembership("knock");
            assert.deepEqual(waiting.map((member) => member.userId), [bob.id]);
            await alice.client.invite(roomId, bob.id);
            await bob.until("the invitation", () => bob.room(roomId).getMyMembership() === "invite");
            await bob.client.joinRoom(roomId);
            await bob.until("their own join", () => bob.room(roomId).getMyMembership() === "join");
            await alice.until("the guest", () => membership(alice, roomId, bob) === "join");
            await bob.say(roomId, "Warm in here.");
            await alice.sees(roomId, "Warm in here.");
        });

        await context.test("a knock is taken back, and another is refused", async () => {
            const mine = (state) => () => carol.room(roomId)?.getMyMembership() === state;
            await carol.client.knockRoom(roomId);
            await carol.until("their own knock", mine("knock"));
            await bob.until("the knock", () => membership(bob, roomId, carol) === "knock");
            await carol.client.leave(roomId);
            await carol.until("being away", mine("leave"));
            await bob.until("the other going", () => membership(bob, roomId, carol) === "leave");
            await carol.client.knockRoom(roomId);
            await carol.until("their second knock", mine("knock"));
            await alice.client.kick(roomId, carol.id, "Full house");
            await carol.until("the refusal", mine("leave"));
            await bob.until("the refusal", () => membership(bob, roomId, carol) === "leave");
            const { member } = bob.room(roomId).getMember(carol.id).events;
            assert.equal(member.getSender(), alice.id);
            assert.equal(member.getContent().reason, "Full house");
            await assert.rejects(carol.client.joinRoom(roomId), FORBIDDEN);
        });
    });
}
