// Encrypted chats: devices that verify each other, keys that are backed up and restored, over restarts of the server.

import assert from "node:assert";
import { after, before, test } from "node:test";
import { EventType, RelationType } from "matrix-js-sdk";
import { Person } from "./person.js";
import { Server } from "./server.js";
import { verifyEachOther } from "./verification.js";

let server;
before(async () => (server = await Server.start()));
after(async () => server.remove());

const people = [];
const person = async (person) => {
    people.push(await person);
    return people.at(-1);
};
after(() => people.forEach((person) => person.stop()));

const register = (name) => person(Person.register(server, name, { encrypted: true }));
const login = (name, secrets) =>
    person(Person.login(server, name, `password of ${name}`, { encrypted: true, secrets }));

// What nobody but the members can read is on the server.
async function isEncrypted(person, roomId, eventId) {
    const { type, content } = await person.client.fetchRoomEvent(roomId, eventId);
    assert.equal(type, "m.room.encrypted");
    assert.equal(content.body, undefined);
}

// A client uploads keys after some seconds, so that not all clients do at once.
const backedUp = (person, most) =>
    person.untilAsync("everything backed up", async () => {
        const { count } = await person.client.http.authedRequest("GET", "/room_keys/version");
        return count >= most;
    });

test("an encrypted room", async (context) => {
    let alice = await register("alice");
    let bob = await register("bob");
    await alice.setUpEncryption();
    await bob.setUpEncryption();
    const roomId = await alice.roomWith([bob]);

    await context.test("messages both ways", async () => {
        await isEncrypted(bob, roomId, await alice.say(roomId, "Nobody reads this."));
        await bob.sees(roomId, "Nobody reads this.");
        await isEncrypted(alice, roomId, await bob.say(roomId, "Nor this."));
        const event = await alice.sees(roomId, "Nor this.");
        assert.ok(event.isEncrypted() && !event.isDecryptionFailure());
    });

    await context.test("a reaction and a thread", async () => {
        const root = await alice.say(roomId, "What do you think?");
        await bob.sees(roomId, "What do you think?");
        await bob.client.sendEvent(roomId, EventType.Reaction, {
            "m.relates_to": { rel_type: RelationType.Annotation, event_id: root, key: "🔥" },
        });
        await alice.until("the reaction", () =>
            alice.room(roomId).relations.getChildEventsForEvent(root, RelationType.Annotation, EventType.Reaction)
                ?.getRelations().length === 1);
        await bob.client.sendMessage(roomId, {
            "msgtype": "m.text",
            "body": "In a thread.",
            "m.relates_to": { rel_type: "m.thread", event_id: root, is_falling_back: true },
        });
        await alice.sees(roomId, "In a thread.");
    });

    await context.test("two people verify each other", async () => {
        await verifyEachOther(alice, bob, async () => alice.crypto.requestVerificationDM(bob.id, roomId));
        for (const [one, other] of [[alice, bob], [bob, alice]]) {
            const verified = async () => (await one.crypto.getUserVerificationStatus(other.id)).isCrossSigningVerified();
            await one.untilAsync("the other verified", verified);
        }
    });

    await backedUp(alice, 2);
    const second = await login("alice");
    await context.test("a second device is verified by the first and gets the secrets from it", async () => {
        await verifyEachOther(second, alice, async () => second.crypto.requestOwnUserVerification());
        await second.untilAsync("its own signature", async () => {
            const status = await second.crypto.getDeviceVerificationStatus(alice.id, second.login.device_id);
            return status?.crossSigningVerified;
        });
        await second.untilAsync("the private keys", async () => {
            const { privateKeysCachedLocally: keys } = await second.crypto.getCrossSigningStatus();
            return keys.masterKey && keys.selfSigningKey && keys.userSigningKey;
        });
        await second.untilAsync("the backup's key", () => second.crypto.getSessionBackupPrivateKey());
        await bob.untilAsync("the new device as verified", async () => {
            const status = await bob.crypto.getDeviceVerificationStatus(alice.id, second.login.device_id);
            return status?.crossSigningVerified;
        });
    });

    await context.test("the second device reads what was said before it was there", async () => {
        await second.sees(roomId, "Nobody reads this.");
        await second.sees(roomId, "Nor this.");
        await second.say(roomId, "From the second device.");
        await bob.sees(roomId, "From the second device.");
        await alice.sees(roomId, "From the second device.");
    });

    await context.test("the server is restarted, and killed", async () => {
        await server.restart();
        await bob.say(roomId, "After the restart.");
        await server.crash();
        await alice.say(roomId, "After the crash.");
        for (const person of [alice, bob, second]) {
            await person.sees(roomId, "After the restart.");
            await person.sees(roomId, "After the crash.");
        }
    });

    await context.test("a session is restored with its keys", async () => {
        bob.stop();
        bob = await person(Person.restore(server, bob.login, { encrypted: true, secrets: bob.secrets }));
        await bob.sees(roomId, "After the crash.");
        await bob.say(roomId, "Here again.");
        await alice.sees(roomId, "Here again.");
    });

    await context.test("a new device restores the backup with the recovery key", async () => {
        await backedUp(alice, 3);
        await alice.client.logout(true);
        await second.client.logout(true);
        const third = await login("alice", alice.secrets);
        await third.crypto.loadSessionBackupPrivateKeyFromSecretStorage();
        const { total, imported } = await third.crypto.restoreKeyBackup();
        assert.ok(total >= 3 && imported === total, `${imported} of ${total}`);
        for (const body of ["Nobody reads this.", "Nor this.", "From the second device.", "Here again."]) {
            await third.sees(roomId, body);
        }
        await third.crypto.bootstrapCrossSigning({});
        await third.untilAsync("its own signature", async () => {
            const status = await third.crypto.getDeviceVerificationStatus(third.id, third.login.device_id);
            return status?.crossSigningVerified;
        });
        await third.say(roomId, "From the third device.");
        await bob.sees(roomId, "From the third device.");
        alice = third;
    });

    await context.test("a dehydrated device takes keys while nobody is there", async () => {
        assert.ok(await alice.crypto.isDehydrationSupported());
        await alice.crypto.startDehydration();
        await bob.untilAsync("the dehydrated device", async () => {
            const devices = await bob.crypto.getUserDeviceInfo([alice.id]);
            return [...devices.get(alice.id).values()].some((device) => device.dehydrated);
        });
        const { devices } = await alice.client.getDevices();
        assert.deepEqual(devices.map((device) => device.device_id), [alice.login.device_id]);
        await alice.client.logout(true);
        await bob.untilAsync("nobody else", async () => {
            const devices = await bob.crypto.getUserDeviceInfo([alice.id]);
            return devices.get(alice.id).size === 1;
        });
        await bob.crypto.forceDiscardSession(roomId);
        await bob.say(roomId, "While nobody is there.");
        const fourth = await login("alice", alice.secrets);
        await fourth.crypto.bootstrapCrossSigning({});
        await fourth.crypto.startDehydration();
        await fourth.sees(roomId, "While nobody is there.");
        alice = fourth;
    });

    await context.test("a message to a device, not to a room", async () => {
        const received = new Promise((resolve) => {
            bob.client.on("receivedToDeviceMessage", ({ message }) => message.type === "m.test" && resolve(message));
        });
        await alice.client.encryptAndSendToDevice(
            "m.test",
            [{ userId: bob.id, deviceId: bob.login.device_id }],
            { secret: "soup" },
        );
        const message = await received;
        assert.deepEqual([message.sender, message.content.secret], [alice.id, "soup"]);
    });
});
