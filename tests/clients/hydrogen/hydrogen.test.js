// A person at Hydrogen in headless Chromium and one at matrix-js-sdk, in an encrypted room. What the browser showed is
// under target/hydrogen.

import assert from "node:assert";
import { mkdirSync } from "node:fs";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";
import { Person } from "../js-sdk/person.js";
import { Server } from "../js-sdk/server.js";
import { serveApp } from "./site.js";

const PICTURES = "../../../target/hydrogen";

let server;
let site;
let browser;
before(async () => {
    mkdirSync(PICTURES, { recursive: true });
    server = await Server.start();
    site = await serveApp();
    browser = await chromium.launch({
        executablePath: "/usr/bin/chromium",
        args: [
            "--no-sandbox",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-first-run",
        ],
    });
});
after(async () => {
    await browser?.close();
    site?.end();
    await server?.remove();
});

test("an encrypted chat", async (context) => {
    const bob = await Person.register(server, "bob", { encrypted: true });
    const away = await Person.register(server, "alice");
    context.after(() => [bob, away].forEach((person) => person.stop()));
    away.stop();
    const page = await (await browser.newContext({ viewport: { width: 1000, height: 700 } })).newPage();
    page.setDefaultTimeout(30_000);
    const problems = [];
    page.on("pageerror", (error) => problems.push(error.stack));
    const picture = (name) => page.screenshot({ path: `${PICTURES}/${name}.png` });
    const message = (body) => page.locator(".Timeline_messageBody", { hasText: body }).first();
    let roomId;

    await context.test("logging in", async () => {
        await page.goto(`${site.url}/?homeserver=${encodeURIComponent(server.url)}`);
        await page.locator("#username").fill("alice");
        await page.locator("#password").fill("password of alice");
        await picture("1-login");
        await page.locator(".PasswordLoginView button[type=submit]").click();
        await page.locator(".LeftPanel").waitFor();
        await picture("2-logged-in");
    });

    await context.test("an invitation is accepted", async () => {
        const { room_id } = await bob.client.createRoom({
            name: "Kitchen",
            preset: "private_chat",
            invite: ["@alice:localhost"],
            initial_state: [
                { type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } },
            ],
        });
        roomId = room_id;
        await page.locator(".RoomList li", { hasText: "Kitchen" }).click();
        await page.locator(".InviteView .accept, .InviteView button.primary").first().click();
        await bob.until("the join", () => bob.room(roomId)?.getJoinedMemberCount() === 2);
        await page.locator(".MessageComposer").waitFor();
        await picture("3-room");
    });

    await context.test("messages both ways", async () => {
        await bob.say(roomId, "Is there soup?");
        await message("Is there soup?").waitFor();
        const input = page.locator(".MessageComposer_input textarea");
        await input.fill("There is.");
        await input.press("Enter");
        const event = await bob.sees(roomId, "There is.");
        assert.ok(event.isEncrypted());
        await message("There is.").waitFor();
        await picture("4-messages");
    });

    await context.test("the page is loaded again, the server restarted meanwhile", async () => {
        await server.restart();
        await page.reload();
        await message("Is there soup?").waitFor();
        await bob.say(roomId, "Still warm?");
        await message("Still warm?").waitFor();
        await picture("5-loaded-again");
    });

    assert.deepEqual(problems, []);
});
