// A person at a matrix-js-sdk client: registers or logs in, syncs, waits for what it expects to see.

import "fake-indexeddb/auto";
import assert from "node:assert";
import * as sdk from "matrix-js-sdk";
import { logger } from "matrix-js-sdk/lib/logger.js";

logger.disableAll();
const silent = { trace() {}, debug() {}, info() {}, warn() {}, error() {}, getChild: () => silent };

const PATIENCE = 20_000;

export class Person {
    static async register(server, name, { password = `password of ${name}`, encrypted = false } = {}) {
        const login = await withDummyStage(server, { username: name, password });
        assert.equal(login.user_id, `@${name}:localhost`);
        return new Person(server, login, { password, encrypted }).begin();
    }

    // `secrets` is what the person remembers and no device has told the other: the key of the secret storage.
    static async login(server, name, password, { encrypted = false, secrets } = {}) {
        const anonymous = sdk.createClient({ baseUrl: server.url });
        const login = await anonymous.loginRequest({
            type: "m.login.password",
            identifier: { type: "m.id.user", user: name },
            password,
            initial_device_display_name: "second device",
        });
        return new Person(server, login, { password, encrypted, secrets }).begin();
    }

    // A session that was kept: nothing but the access token and its device, and the database of its keys.
    static async restore(server, login, options = {}) {
        return new Person(server, login, options).begin();
    }

    constructor(server, login, { password, encrypted = false, secrets = {} }) {
        this.server = server;
        this.login = login;
        this.password = password;
        this.encrypted = encrypted;
        this.secrets = secrets;
        this.client = sdk.createClient({
            baseUrl: server.url,
            userId: login.user_id,
            deviceId: login.device_id,
            accessToken: login.access_token,
            timelineSupport: true,
            logger: silent,
            verificationMethods: ["m.sas.v1"],
            cryptoCallbacks: {
                getSecretStorageKey: async ({ keys }) => {
                    const keyId = Object.keys(keys).find((id) => this.secrets[id]);
                    return keyId ? [keyId, this.secrets[keyId]] : null;
                },
                cacheSecretStorageKey: (keyId, _, key) => {
                    this.secrets[keyId] = key;
                },
            },
        });
    }

    get crypto() {
        return this.client.getCrypto();
    }

    async begin() {
        if (this.encrypted) {
            const cryptoDatabasePrefix = `${this.server.url} ${this.id} ${this.login.device_id}`;
            await this.client.initRustCrypto({ cryptoDatabasePrefix });
        }
        await this.client.startClient({ initialSyncLimit: 30, pollTimeout: 10_000 });
        await this.until("the first sync", () => this.client.isInitialSyncComplete());
        return this;
    }

    get id() {
        return this.login.user_id;
    }

    room(roomId) {
        return this.client.getRoom(roomId);
    }

    // What `look` finds, as soon as it finds something.
    async until(what, look) {
        const end = Date.now() + PATIENCE;
        for (;;) {
            const found = look();
            if (found) return found;
            if (Date.now() > end) throw new Error(`${this.id} never saw ${what}`);
            await new Promise((resolve) => setTimeout(resolve, 10));
        }
    }

    // The same where looking takes time.
    async untilAsync(what, look) {
        const end = Date.now() + PATIENCE;
        for (;;) {
            const found = await look();
            if (found) return found;
            if (Date.now() > end) throw new Error(`${this.id} never saw ${what}`);
            await new Promise((resolve) => setTimeout(resolve, 50));
        }
    }

    async sees(roomId, body) {
        return this.until(`"${body}"`, () =>
            this.room(roomId)
                ?.getLiveTimeline()
                .getEvents()
                .find((event) => event.getContent().body === body && !event.status),
        );
    }

    // A new room which the guests have been invited to and joined.
    async roomWith(guests, options) {
        const encryption = {
            type: "m.room.encryption",
            state_key: "",
            content: { algorithm: "m.megolm.v1.aes-sha2" },
        };
        const { room_id: roomId } = await this.client.createRoom({
            preset: "private_chat",
            initial_state: this.encrypted ? [encryption] : [],
            ...options,
        });
        for (const guest of guests) {
            await this.client.invite(roomId, guest.id);
            await guest.until("the invitation", () => guest.room(roomId));
            await guest.client.joinRoom(roomId);
            await guest.until("their own join", () => guest.room(roomId).getMyMembership() === "join");
        }
        await this.until("everybody", () => this.room(roomId)?.getJoinedMemberCount() === guests.length + 1);
        return roomId;
    }

    // As Element does for a new account: cross-signing, secret storage and the backup of keys.
    async setUpEncryption() {
        await this.crypto.bootstrapCrossSigning({
            authUploadDeviceSigningKeys: (makeRequest) => this.confirmed(makeRequest),
        });
        await this.crypto.bootstrapSecretStorage({
            createSecretStorageKey: () => this.crypto.createRecoveryKeyFromPassphrase(),
            setupNewSecretStorage: true,
            setupNewKeyBackup: true,
        });
    }

    // A request that may want the password.
    async confirmed(makeRequest) {
        try {
            return await makeRequest(null);
        } catch (error) {
            if (error.httpStatus !== 401) throw error;
            const identifier = { type: "m.id.user", user: this.id };
            const { session } = error.data;
            return makeRequest({ type: "m.login.password", identifier, password: this.password, session });
        }
    }

    async say(roomId, body) {
        const { event_id: eventId } = await this.client.sendTextMessage(roomId, body);
        await this.sees(roomId, body);
        return eventId;
    }

    async stop() {
        this.client.stopClient();
    }
}

async function withDummyStage(server, body) {
    const client = sdk.createClient({ baseUrl: server.url });
    // As Element does: ask for the flows first, then answer the one stage.
    const challenge = await client.registerRequest(body).then(
        () => assert.fail("registration without interactive authentication"),
        (error) => error,
    );
    assert.equal(challenge.httpStatus, 401);
    assert.ok(challenge.data.flows.some((flow) => flow.stages.join() === "m.login.dummy"));
    const auth = { type: "m.login.dummy", session: challenge.data.session };
    return client.registerRequest({ ...body, auth, initial_device_display_name: "first device" });
}
