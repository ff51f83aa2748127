// People send each other pictures, files and voice messages and have faces, as they would in a web client, in rooms of
// version 11 and 12; everything is still there after a restart.

import assert from "node:assert";
import { after, before, test } from "node:test";
import { EventType, MsgType } from "matrix-js-sdk";
import { bytesOf, picture, show, upload } from "./files.js";
import { Person } from "./person.js";
import { Server } from "./server.js";

const VOICE = Buffer.from(`OggS${"\0\x02voice".repeat(4_000)}`, "latin1");
const FIRE = picture(320, 200, [220, 80, 20]);

let server;
before(async () => (server = await Server.start()));
after(async () => server.remove());

for (const version of ["11", "12"]) {
    test(`files in a room of version ${version}`, async (context) => {
        const alice = await Person.register(server, `alice${version}`);
        const bob = await Person.register(server, `bob${version}`);
        context.after(() => [alice, bob].forEach((person) => person.stop()));
        const roomId = await alice.roomWith([bob], { room_version: version, name: "Pictures" });
        const fire = await upload(alice, FIRE, "image/png", "fire ü.png");

        await context.test("a picture and its thumbnail", async () => {
            await alice.client.sendMessage(roomId, {
                msgtype: MsgType.Image,
                body: "fire ü.png",
                url: fire,
                info: { mimetype: "image/png", size: FIRE.length, w: 320, h: 200 },
            });
            const { url } = (await bob.sees(roomId, "fire ü.png")).getContent();
            const shown = await show(bob, url);
            assert.equal(shown.status, 200);
            assert.equal(shown.headers.get("content-type"), "image/png");
            assert.match(shown.headers.get("content-disposition"), /^inline; filename\*=utf-8''fire%20%C3%BC\.png$/i);
            assert.deepEqual(await bytesOf(shown), FIRE);
            const small = await show(bob, url, 64, 64, "crop");
            assert.equal(small.status, 200);
            const bytes = await bytesOf(small);
            assert.ok(bytes.length > 0 && bytes.length < FIRE.length, `${bytes.length} bytes`);
        });

        await context.test("nobody sees it without a session", async () => {
            const nobody = await fetch(bob.client.mxcUrlToHttp(fire, undefined, undefined, undefined, false, true, true));
            assert.equal(nobody.status, 401);
            assert.equal((await nobody.json()).errcode, "M_MISSING_TOKEN");
            const old = await fetch(bob.client.mxcUrlToHttp(fire, undefined, undefined, undefined, false, true, false));
            assert.equal(old.status, 404);
        });

        let voice;
        await context.test("a voice message", async () => {
            voice = await upload(bob, VOICE, "audio/ogg", "Voice message.ogg");
            const audio = { duration: 4_200, waveform: [0, 256, 1_024, 512, 128, 0] };
            const content = {
                "msgtype": MsgType.Audio,
                "body": "Voice message.ogg",
                "url": voice,
                "info": { mimetype: "audio/ogg", size: VOICE.length, duration: 4_200 },
                "org.matrix.msc1767.text": "Voice message",
                "org.matrix.msc1767.file": { url: voice, name: "Voice message.ogg", mimetype: "audio/ogg", size: VOICE.length },
                "org.matrix.msc1767.audio": audio,
                "org.matrix.msc3245.voice": {},
            };
            await bob.client.sendMessage(roomId, content);
            const heard = await alice.sees(roomId, "Voice message.ogg");
            assert.deepEqual(heard.getContent(), content);
            const sound = await show(alice, heard.getContent().url);
            assert.equal(sound.headers.get("content-type"), "audio/ogg");
            assert.deepEqual(await bytesOf(sound), VOICE);
        });

        await context.test("a page of HTML is a download, whatever it is called", async () => {
            const page = await upload(bob, Buffer.from("<script>alert(1)</script>"), "text/html", "a.png");
            const shown = await show(alice, page);
            assert.match(shown.headers.get("content-disposition"), /^attachment/);
            assert.match(shown.headers.get("content-security-policy"), /sandbox/);
        });

        const ember = await upload(bob, picture(96, 96, [90, 20, 10]), "image/png", "ember.png");
        await context.test("the faces of people and rooms", async () => {
            await bob.client.setAvatarUrl(ember);
            await alice.until("the face", () => alice.room(roomId).getMember(bob.id).getMxcAvatarUrl() === ember);
            assert.equal((await alice.client.getProfileInfo(bob.id)).avatar_url, ember);
            await alice.client.sendStateEvent(roomId, EventType.RoomAvatar, { url: fire }, "");
            await bob.until("the room's face", () => bob.room(roomId).getMxcAvatarUrl() === fire);
            assert.equal((await show(alice, ember, 32, 32, "scale")).status, 200);
        });

        await context.test("after a restart and a crash", async () => {
            await server.restart();
            assert.deepEqual(await bytesOf(await show(alice, voice)), VOICE);
            await server.crash();
            assert.deepEqual(await bytesOf(await show(bob, fire)), FIRE);
            assert.equal((await show(bob, fire, 64, 64, "crop")).status, 200);
            await bob.say(roomId, "Still warm.");
            await alice.sees(roomId, "Still warm.");
            assert.equal(alice.room(roomId).getMember(bob.id).getMxcAvatarUrl(), ember);
        });
    });
}
