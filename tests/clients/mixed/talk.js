// Two people at matrix-js-sdk and one at matrix-nio, in one encrypted room: every message is read by every device that
// was there when it was sent, while devices come and go and the server is restarted and killed.

import assert from "node:assert";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { showEncrypted, uploadEncrypted, voiceMessage } from "../js-sdk/files.js";
import { Person } from "../js-sdk/person.js";
import { Server } from "../js-sdk/server.js";

const MESSAGES = Number(process.argv[2]);
// After so many messages everybody reads what was said.
const ROUND = 10;
const VOICE = Buffer.from(`OggS${"\0\x02voice".repeat(4_000)}`, "latin1");

// The matrix-nio people, in a process of their own.
class Pipe {
    constructor(url) {
        this.process = spawn(process.env.PYTHON, ["-B", "pipe.py", url], { stdio: ["pipe", "pipe", "inherit"] });
        this.lines = createInterface({ input: this.process.stdout })[Symbol.asyncIterator]();
    }

    async tell(...command) {
        this.process.stdin.write(`${JSON.stringify(command)}\n`);
        const { value, done } = await this.lines.next();
        if (done) throw new Error("the matrix-nio process has ended");
        const { ok, error } = JSON.parse(value);
        if (error) throw new Error(error);
        return ok;
    }

    end() {
        this.process.stdin.end();
    }
}

// A device that talks in the room; it must read everything that is said while it is there.
class JsDevice {
    static async register(server, name) {
        const device = new JsDevice(await Person.register(server, name, { encrypted: true }));
        await device.person.setUpEncryption();
        return device;
    }

    static async login(server, name) {
        const login = Person.login(server, name, `password of ${name}`, { encrypted: true });
        return new JsDevice(await login);
    }

    constructor(person) {
        this.person = person;
        this.name = `${person.id} ${person.login.device_id} (matrix-js-sdk)`;
        this.expected = [];
        this.bodies = new Set();
        const note = (event) => {
            if (event.getType() === "m.room.message" && event.isEncrypted()) this.bodies.add(event.getContent().body);
        };
        person.client.on("Room.timeline", note);
        person.client.on("Event.decrypted", note);
    }

    get userId() {
        return this.person.id;
    }

    get deviceId() {
        return this.person.login.device_id;
    }

    async say(roomId, body) {
        await this.person.client.sendTextMessage(roomId, body);
    }

    // A voice message, whose content is returned.
    async speak(roomId) {
        const content = voiceMessage(await uploadEncrypted(this.person, VOICE), VOICE.length);
        await this.person.client.sendMessage(roomId, content);
        return content;
    }

    // Its content, what is stored of it, and what was said.
    async hear(roomId, body) {
        const event = await this.person.sees(roomId, body);
        const [stored, file] = await showEncrypted(this.person, event.getContent().file);
        return { content: event.getContent(), stored, file };
    }

    async missing() {
        const missing = () => this.expected.filter((body) => !this.bodies.has(body));
        await this.person.until("the messages", () => missing().length === 0).catch(() => {});
        return missing();
    }

    async learns(userId, deviceId, known) {
        await this.person.untilAsync("the change of devices", async () => {
            const devices = await this.person.crypto.getUserDeviceInfo([userId]);
            return Boolean(devices.get(userId)?.has(deviceId)) === known;
        });
    }

    async inRoom(roomId, members) {
        await this.person.until("everybody", () => this.person.room(roomId)?.getJoinedMemberCount() === members);
    }

    async leave() {
        await this.person.client.logout(true);
    }
}

class NioDevice {
    static async make(pipe, how, who, name) {
        return new NioDevice(pipe, who, `@${name}:localhost`, await pipe.tell(how, who, name));
    }

    constructor(pipe, who, userId, deviceId) {
        Object.assign(this, { pipe, who, userId, deviceId });
        this.name = `${userId} ${deviceId} (matrix-nio)`;
        this.expected = [];
    }

    say(roomId, body) {
        return this.pipe.tell("say", this.who, roomId, body);
    }

    // Its keys are made here: what they are is not said.
    async speak(roomId) {
        const content = { ...voiceMessage(undefined, VOICE.length), body: "Voice of nio.ogg" };
        delete content["org.matrix.msc1767.file"];
        await this.pipe.tell("say_file", this.who, roomId, content, VOICE.toString("base64"));
        return content;
    }

    async hear(roomId, body) {
        const { content, ...bytes } = await this.pipe.tell("file", this.who, roomId, body);
        const [stored, file] = [bytes.stored, bytes.file].map((text) => Buffer.from(text, "base64"));
        return { content, stored, file };
    }

    async missing(roomId) {
        const { missing, notDecrypted } = await this.pipe.tell("seen", this.who, roomId, this.expected);
        return notDecrypted ? [...missing, `${notDecrypted} that could not be decrypted`] : missing;
    }

    learns(userId, deviceId, known) {
        return this.pipe.tell("knows_device", this.who, userId, deviceId, known);
    }

    inRoom(roomId, members) {
        return this.pipe.tell("in_room", this.who, roomId, members);
    }

    leave() {
        return this.pipe.tell("logout", this.who);
    }
}

const server = await Server.start();
const pipe = new Pipe(server.url);
let passed = 0;
let failed = 0;
let sent = 0;

try {
    const alice = await JsDevice.register(server, "alice");
    const bob = await JsDevice.register(server, "bob");
    const carol = await NioDevice.make(pipe, "register", "carol", "carol");
    const devices = new Set([alice, bob, carol]);
    const roomId = await alice.person.roomWith([bob.person]);
    await alice.person.client.invite(roomId, carol.userId);
    await pipe.tell("join", "carol", roomId);
    for (const device of devices) await device.inRoom(roomId, 3);
    for (const device of devices) {
        for (const other of devices) if (other !== device) await device.learns(other.userId, other.deviceId, true);
    }

    const say = async (device) => {
        const body = `message ${sent++}`;
        await device.say(roomId, body);
        for (const reader of devices) reader.expected.push(body);
    };
    const everybodyReads = async () => {
        for (const device of devices) {
            const missing = await device.missing(roomId);
            passed += device.expected.length - missing.length;
            failed += missing.length;
            if (missing.length > 0) console.log(`not ok: ${device.name} did not read ${missing.join(", ")}`);
            device.expected = [];
        }
    };
    const comes = async (device) => {
        await device.inRoom(roomId, 3);
        for (const other of devices) {
            await other.learns(device.userId, device.deviceId, true);
            await device.learns(other.userId, other.deviceId, true);
        }
        devices.add(device);
        return device;
    };
    const goes = async (device) => {
        devices.delete(device);
        await device.leave();
        for (const other of devices) await other.learns(device.userId, device.deviceId, false);
    };
    for (const [speaker, hearers] of [[alice, [bob, carol]], [carol, [alice, bob]]]) {
        const said = await speaker.speak(roomId);
        for (const hearer of hearers) {
            const { content, stored, file } = await hearer.hear(roomId, said.body);
            assert.deepEqual(file, VOICE);
            assert.notDeepEqual(stored, VOICE);
            assert.deepEqual({ ...content, file: undefined }, { ...said, file: undefined });
            passed += 1;
        }
    }
    let phone;
    let laptop;
    const events = [
        async () => (phone = await comes(await JsDevice.login(server, "alice"))),
        () => server.restart(),
        async () => (laptop = await comes(await NioDevice.make(pipe, "login", "laptop", "carol"))),
        () => goes(phone),
        () => server.crash(),
        () => goes(laptop),
    ];
    for (let round = 0; sent < MESSAGES; round++) {
        const talking = [...devices];
        for (let number = 0; number < ROUND && sent < MESSAGES; number++) await say(talking[number % talking.length]);
        await everybodyReads();
        await events[round % events.length]();
    }
} catch (error) {
    console.log(`not ok: ${error.stack}`);
    failed += 1;
} finally {
    pipe.end();
    await server.remove();
}
console.log(`${sent} messages were sent`);
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
