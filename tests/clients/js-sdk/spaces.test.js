// Rooms in spaces, as in a web client: made, found by walking the space, joined because one is in it; in rooms of version
// 11 and 12.

import assert from "node:assert";
import { after, before, test } from "node:test";
import { EventType, JoinRule, Preset, RestrictedAllowType, RoomType } from "matrix-js-sdk";
import { RoomHierarchy } from "matrix-js-sdk/lib/room-hierarchy.js";
import { Person } from "./person.js";
import { Server } from "./server.js";

const FORBIDDEN = { httpStatus: 403, errcode: "M_FORBIDDEN" };
const VIA = ["localhost"];

let server;
before(async () => (server = await Server.start()));
after(async () => server.remove());

// Everything below a space, page by page.
async function walk(person, spaceId, suggestedOnly = false) {
    const hierarchy = new RoomHierarchy(person.room(spaceId), 2, undefined, suggestedOnly);
    while (hierarchy.canLoadMore) assert.ok((await hierarchy.load()).length <= 2);
    return hierarchy;
}

const names = (hierarchy) => hierarchy.rooms.map(({ name }) => name);

for (const version of ["11", "12"]) {
    test(`a space with rooms of version ${version}`, async (context) => {
        const register = (name) => Person.register(server, `${name}${version}`);
        let [alice, bob, carol] = [await register("alice"), await register("bob"), await register("carol")];
        context.after(() => [alice, bob, carol].forEach((person) => person.stop()));
        const create = async (name, options) => {
            const { room_id: roomId } = await alice.client.createRoom({ name, room_version: version, ...options });
            await alice.until(name, () => alice.room(roomId)?.getMyMembership() === "join");
            return roomId;
        };
        const createSpace = (name, preset) => create(name, { preset, creation_content: { type: RoomType.Space } });
        const put = async (spaceId, childId, content) => {
            await alice.client.sendStateEvent(spaceId, EventType.SpaceChild, content, childId);
            await alice.client.sendStateEvent(childId, EventType.SpaceParent, { via: VIA, canonical: true }, spaceId);
        };
        const house = await createSpace(`House ${version}`, Preset.PrivateChat);
        const cellar = await createSpace("Cellar", Preset.PublicChat);
        const restricted = {
            join_rule: JoinRule.Restricted,
            allow: [{ type: RestrictedAllowType.RoomMembership, room_id: house }],
        };
        const kitchen = await create("Kitchen", {
            preset: Preset.PrivateChat,
            initial_state: [{ type: EventType.RoomJoinRules, state_key: "", content: restricted }],
        });
        const barrels = await create("Barrels", { preset: Preset.PublicChat });
        const attic = await create("Attic", { preset: Preset.PrivateChat });

        await context.test("it is filled with rooms and another space", async () => {
            await put(house, cellar, { via: VIA, order: "b" });
            await put(house, kitchen, { via: VIA, order: "a", suggested: true });
            await put(house, attic, { via: VIA, order: "c" });
            await put(cellar, barrels, { via: VIA });
            assert.ok(alice.room(house).isSpaceRoom());
            assert.deepEqual(names(await walk(alice, house)), [`House ${version}`, "Kitchen", "Cellar", "Barrels", "Attic"]);
        });

        await context.test("who is not in it is not told of it", async () => {
            await assert.rejects(carol.client.getRoomHierarchy(house), FORBIDDEN);
            await assert.rejects(carol.client.joinRoom(kitchen), FORBIDDEN);
        });

        await context.test("who is invited sees the rooms that they may enter", async () => {
            await alice.client.invite(house, bob.id);
            await bob.until("the invitation", () => bob.room(house)?.getMyMembership() === "invite");
            assert.ok(bob.room(house).isSpaceRoom());
            await bob.client.joinRoom(house);
            await bob.until("their own join", () => bob.room(house).getMyMembership() === "join");
            const hierarchy = await walk(bob, house);
            // What is for invited people only is not among them.
            assert.deepEqual(names(hierarchy), [`House ${version}`, "Kitchen", "Cellar", "Barrels"]);
            assert.deepEqual(hierarchy.backRefs.get(barrels), [cellar]);
            assert.ok(hierarchy.isSuggested(house, kitchen));
            const room = hierarchy.roomMap.get(kitchen);
            assert.equal(room.join_rule, JoinRule.Restricted);
            assert.deepEqual(room.allowed_room_ids, [house]);
            assert.equal(hierarchy.roomMap.get(cellar).room_type, RoomType.Space);
            assert.deepEqual(names(await walk(bob, house, true)), [`House ${version}`, "Kitchen"]);
        });

        await context.test("who is in it may join its restricted room", async () => {
            await bob.client.joinRoom(kitchen, { viaServers: VIA });
            await bob.until("their own join", () => bob.room(kitchen)?.getMyMembership() === "join");
            const { member } = bob.room(kitchen).getMember(bob.id).events;
            assert.equal(member.getContent().join_authorised_via_users_server, alice.id);
            await bob.say(kitchen, "Is there soup?");
            await alice.sees(kitchen, "Is there soup?");
            await assert.rejects(carol.client.joinRoom(kitchen), FORBIDDEN);
        });

        await context.test("all of it after a restart", async () => {
            await server.restart();
            assert.deepEqual(names(await walk(bob, house)), [`House ${version}`, "Kitchen", "Cellar", "Barrels"]);
            await alice.stop();
            alice = await Person.restore(server, alice.login);
            assert.ok(alice.room(house).isSpaceRoom());
            assert.equal(alice.room(house).currentState.getStateEvents(EventType.SpaceChild).length, 3);
        });

        await context.test("a room is taken out", async () => {
            await alice.client.sendStateEvent(house, EventType.SpaceChild, {}, cellar);
            assert.deepEqual(names(await walk(bob, house)), [`House ${version}`, "Kitchen"]);
        });

        await context.test("who has left the space stays in its room, and does not come back", async () => {
            await bob.client.leave(house);
            await assert.rejects(bob.client.getRoomHierarchy(house), FORBIDDEN);
            await bob.say(kitchen, "I am still here.");
            await alice.sees(kitchen, "I am still here.");
            await bob.client.leave(kitchen);
            await bob.until("their own leave", () => bob.room(kitchen).getMyMembership() === "leave");
            await assert.rejects(bob.client.joinRoom(kitchen), FORBIDDEN);
        });
    });
}
